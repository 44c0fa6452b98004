// Every option of pgBackRest 2.60 (and `cipher-pass`, which 2.59 had), and the names of earlier releases (? is the index).
export const PGBACKREST_OPTIONS = `
allow-root annotation archive-async archive-check archive-copy archive-expire-before archive-get-queue-max
archive-header-check archive-missing-retry archive-mode archive-mode-check archive-push-batch-size
archive-push-queue-max archive-timeout backup-standby beta buffer-size checksum-page checksum-page-error cipher-pass cmd cmd-ssh
compress compress-level compress-level-network compress-type config config-include-path config-path db-exclude
db-include db-timeout delta detail-level dry-run exclude exec-id expire-auto filter force help ignore-missing
io-timeout job-retry job-retry-interval link-all link-map lock lock-path log-level-console log-level-file
log-level-stderr log-path log-subprocess log-timestamp manifest-save-threshold neutral-umask oldest online output
page-header-check pg pg-database pg-host pg-host-ca-file pg-host-ca-path pg-host-cert-file pg-host-cmd
pg-host-config pg-host-config-include-path pg-host-config-path pg-host-key-file pg-host-port pg-host-type
pg-host-user pg-local pg-path pg-port pg-socket-path pg-user pg-version-force priority process process-max
protocol-timeout raw recovery-option recurse reference remote-type repo repo-azure-account repo-azure-container
repo-azure-endpoint repo-azure-key repo-azure-key-type repo-azure-uri-style repo-block repo-block-age-map
repo-block-checksum-size-map repo-block-size-map repo-block-size-super repo-block-size-super-full repo-bundle
repo-bundle-limit repo-bundle-size repo-cipher-pass repo-cipher-type repo-format repo-gcs-bucket repo-gcs-endpoint repo-gcs-key
repo-gcs-key-type repo-gcs-user-project repo-hardlink repo-host repo-host-ca-file repo-host-ca-path
repo-host-cert-file repo-host-cmd repo-host-config repo-host-config-include-path repo-host-config-path
repo-host-key-file repo-host-port repo-host-type repo-host-user repo-local repo-path repo-retention-archive
repo-retention-archive-type repo-retention-diff repo-retention-full repo-retention-full-type repo-retention-history
repo-s3-bucket repo-s3-endpoint repo-s3-key repo-s3-key-secret repo-s3-key-type repo-s3-kms-key-id
repo-s3-process-cmd repo-s3-region repo-s3-requester-pays repo-s3-role repo-s3-service repo-s3-sse-customer-key
repo-s3-sts-host repo-s3-token repo-s3-uri-style repo-sftp-host repo-sftp-host-fingerprint
repo-sftp-host-key-check-type repo-sftp-host-key-hash-type repo-sftp-host-port repo-sftp-host-user
repo-sftp-known-host repo-sftp-private-key-file repo-sftp-private-key-passphrase repo-sftp-public-key-file
repo-storage-ca-file repo-storage-ca-path repo-storage-host repo-storage-port repo-storage-tag
repo-storage-prefetch repo-storage-read-over repo-storage-upload-chunk-size repo-storage-verify-tls repo-symlink repo-target-time repo-type report resume
sck-block sck-keep-alive set sort spool-path stanza start-fast stop-auto tablespace-map tablespace-map-all target
target-action target-exclusive target-timeline tcp-keep-alive-count tcp-keep-alive-idle tcp-keep-alive-interval
tls-cipher-12 tls-cipher-13 tls-server-address tls-server-auth tls-server-ca-file tls-server-cert-file
tls-server-key-file tls-server-port type verbose version
`
  .trim()
  .split(/\s+/)

export const FORMER_NAMES = `
archive-queue-max archive-push-queue-max
backup-cmd repo-host-cmd
backup-config repo-host-config
backup-host repo-host
backup-ssh-port repo-host-port
backup-user repo-host-user
db-cmd pg-host-cmd
db-config pg-host-config
db-host pg-host
db-path pg-path
db-port pg-port
db-socket-path pg-socket-path
db-ssh-port pg-host-port
db-user pg-host-user
db?-cmd pg-host-cmd
db?-config pg-host-config
db?-host pg-host
db?-path pg-path
db?-port pg-port
db?-socket-path pg-socket-path
db?-ssh-port pg-host-port
db?-user pg-host-user
hardlink repo-hardlink
repo-cipher-pass repo-cipher-pass
repo-cipher-type repo-cipher-type
repo-path repo-path
repo-s3-bucket repo-s3-bucket
repo-s3-ca-file repo-storage-ca-file
repo-s3-ca-path repo-storage-ca-path
repo-s3-endpoint repo-s3-endpoint
repo-s3-host repo-storage-host
repo-s3-key repo-s3-key
repo-s3-key-secret repo-s3-key-secret
repo-s3-region repo-s3-region
repo-s3-verify-ssl repo-storage-verify-tls
repo-type repo-type
repo?-azure-ca-file repo-storage-ca-file
repo?-azure-ca-path repo-storage-ca-path
repo?-azure-host repo-storage-host
repo?-azure-port repo-storage-port
repo?-azure-verify-tls repo-storage-verify-tls
repo?-s3-ca-file repo-storage-ca-file
repo?-s3-ca-path repo-storage-ca-path
repo?-s3-host repo-storage-host
repo?-s3-port repo-storage-port
repo?-s3-verify-ssl repo-storage-verify-tls
repo?-s3-verify-tls repo-storage-verify-tls
retention-archive repo-retention-archive
retention-archive-type repo-retention-archive-type
retention-diff repo-retention-diff
retention-full repo-retention-full
`
  .trim()
  .split('\n')
  .map((line) => line.split(' ') as [former: string, now: string])
