import { archiveIdOf, currentHistory, type ArchiveHistory, type ArchiveInfo } from '../../format/archive-info.ts'
import type { BackupHistory, BackupInfo } from '../../format/backup-info.ts'
import { PgtsError } from '../../util/error.ts'
import { describeCluster, isSameCluster, type ClusterIdentity } from '../cluster-identity.ts'
import { loadArchiveInfo } from '../archive-info-store.ts'
import { loadBackupInfo } from '../backup-info-store.ts'
import type { LoadOptions } from '../info-pair.ts'
import type { Repository } from '../repository.ts'
import { repoId } from '../../util/repo-id.ts'

export interface StanzaInfo {
  readonly archiveInfo: ArchiveInfo
  readonly backupInfo: BackupInfo
  /** The current entry, the same in both files. */
  readonly current: BackupHistory
  /** `15-1` */
  readonly archiveId: string
}

/**
 * Loads both info files of a stanza, and checks that they agree with each other and with the cluster.
 *
 * @throws PgtsError file-missing, file-invalid
 */
export async function checkStanzaInfo(
  repository: Repository,
  stanza: string,
  identity: ClusterIdentity,
  options: LoadOptions = {},
): Promise<StanzaInfo> {
  const { key } = repository
  const archiveInfo = await loadArchiveInfo(repository, stanza, options)
  const backupInfo = await loadBackupInfo(repository, stanza, options)
  const archive = currentHistory(archiveInfo)
  const backup = currentHistory(backupInfo)
  if (archive.id !== backup.id || !isSameCluster(archive, backup)) {
    throw new PgtsError(
      'file-invalid',
      `backup.info and archive.info of stanza ${stanza} on ${repoId(key)} do not match:\n` +
        `archive.info: ${describeEntry(archive)}\nbackup.info: ${describeEntry(backup)}`,
      {
        hints: [
          'if a stanza-upgrade was interrupted, run it again',
          'otherwise the repository may be corrupt: run verify',
        ],
      },
    )
  }
  assertSameCluster(repository, stanza, backup, identity)
  return { archiveInfo, backupInfo, current: backup, archiveId: archiveIdOf(archive) }
}

/**
 * Refuses a cluster that does not belong to the stanza.
 *
 * @param code backup uses another code than the other commands
 */
export function assertSameCluster(
  { key }: Pick<Repository, 'key'>,
  stanza: string,
  expected: BackupHistory,
  identity: ClusterIdentity,
  code: 'file-invalid' | 'backup-mismatch' = 'file-invalid',
): void {
  if (isSameCluster(expected, identity)) return
  const title = code === 'file-invalid' ? 'backup and archive info files exist but do not match the database: ' : ''
  throw new PgtsError(
    code,
    `${title}stanza ${stanza} on ${repoId(key)} belongs to another cluster: it has ${describeCluster(expected)}, ` +
      `pg1-path has ${describeCluster(identity)}`,
    {
      hints: [
        'check that stanza and pg1-path are correct',
        'run stanza-upgrade after an upgrade of PostgreSQL, or if the cluster was created again',
      ],
    },
  )
}

/** True if both files list the same clusters in the same order, which expire and verify require. */
export function isSameHistory(archiveInfo: ArchiveInfo, backupInfo: BackupInfo): boolean {
  const [a, b] = [archiveInfo.history, backupInfo.history]
  return (
    a.length === b.length &&
    a.every((entry, index) => {
      const other = b[index]
      return other !== undefined && entry.id === other.id && isSameCluster(entry, other)
    })
  )
}

function describeEntry(entry: ArchiveHistory | BackupHistory): string {
  return `id ${entry.id}, ${describeCluster(entry)}`
}
