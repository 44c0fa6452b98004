import { REPO, defineOptions } from '../option-row.ts'

/** What all object stores share. */
export const repoStorageOptions = defineOptions({
  'repo-storage-ca-file': {
    summary: 'CA certificates that verify the store.',
    type: 'string',
    commands: REPO,
    depend: { option: 'repo-type', values: ['azure', 'gcs', 's3'] },
    formerly: ['repo-s3-ca-file', 'repo?-azure-ca-file', 'repo?-s3-ca-file'],
  },
  'repo-storage-ca-path': {
    summary: 'Directory of CA certificates that verify the store.',
    type: 'path',
    commands: REPO,
    depend: { option: 'repo-type', values: ['azure', 'gcs', 's3'] },
    formerly: ['repo-s3-ca-path', 'repo?-azure-ca-path', 'repo?-s3-ca-path'],
  },
  'repo-storage-host': {
    summary: 'Host of the store, if it is not the endpoint.',
    type: 'string',
    commands: REPO,
    depend: { option: 'repo-type', values: ['azure', 's3'] },
    formerly: ['repo-s3-host', 'repo?-azure-host', 'repo?-s3-host'],
  },
  'repo-storage-port': {
    summary: 'Port of the store.',
    type: 'int',
    commands: REPO,
    range: [1, 65535],
    default: 443,
    depend: { option: 'repo-type', values: ['azure', 's3'] },
    formerly: ['repo?-azure-port', 'repo?-s3-port'],
  },
  'repo-storage-prefetch': {
    summary: 'How many requests are made ahead when parts of files are restored; together they are at most 4 MiB.',
    type: 'int',
    commands: REPO,
    range: [0, 1024],
    default: 16,
    depend: { option: 'repo-type', values: ['azure', 'gcs', 's3'] },
  },
  'repo-storage-read-over': {
    summary: 'Gap between two parts of a file up to which one request reads both, and the gap.',
    type: 'size',
    commands: REPO,
    range: ['0B', '1MiB'],
    default: '64KiB',
    depend: { option: 'repo-type', values: ['azure', 'gcs', 's3'] },
  },
  'repo-storage-tag': {
    summary: 'A key=value tag put on every object.',
    type: 'hash',
    commands: REPO,
    depend: { option: 'repo-type', values: ['azure', 'gcs', 's3'] },
  },
  'repo-storage-upload-chunk-size': {
    summary: 'Size of the parts of an upload.',
    type: 'size',
    commands: REPO,
    range: { by: { azure: ['4MiB', '1GiB'], gcs: ['4MiB', '1GiB'], s3: ['5MiB', '1GiB'] } },
    default: { by: { azure: '4MiB', gcs: '4MiB', s3: '5MiB' } },
    depend: { option: 'repo-type', values: ['azure', 'gcs', 's3'] },
  },
  'repo-storage-verify-tls': {
    summary: 'Check the certificate of the store.',
    type: 'bool',
    commands: REPO,
    default: 'y',
    depend: { option: 'repo-type', values: ['azure', 'gcs', 's3'] },
    formerly: ['repo-s3-verify-ssl', 'repo?-azure-verify-tls', 'repo?-s3-verify-ssl', 'repo?-s3-verify-tls'],
  },
})
