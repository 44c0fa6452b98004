import type { BackupEntry, BackupInfo } from '../../format/backup-info.ts'
import { formatLsn, parseLsn } from '../../format/wal-segment.ts'
import { fromPlainError, PgtsError, type PlainError } from '../../util/error.ts'
import { describeFailure } from '../archive/repository-failures.ts'
import { repoId } from '../../util/repo-id.ts'

/** The backups of the repositories, in the order of their keys. */
export interface RepositoryBackups {
  readonly key: number
  /** Undefined if backup.info could not be read; `failure` is the reason. */
  readonly info?: BackupInfo
  readonly failure?: PlainError
}

export type SetRequest =
  | { readonly kind: 'set'; readonly label: string }
  /** Also for a target by name or xid, whose position in the WAL is not known in advance. */
  | { readonly kind: 'latest' }
  /** Seconds since the epoch. */
  | { readonly kind: 'time'; readonly target: number; readonly text: string }
  | { readonly kind: 'lsn'; readonly target: bigint }

export interface SelectedSet {
  readonly repoKey: number
  readonly entry: BackupEntry
  readonly info: BackupInfo
}

/**
 * Selects the backup to restore: from the first repository, in key order, that has a matching one.
 *
 *  - a set by its label
 *  - latest: the newest one, which must be of the current cluster
 *  - time: the newest that stopped before the target (whole seconds: a stop within the target's second is too late)
 *  - lsn: the newest whose stop LSN is not after the target
 *
 * Throws `backup-set-invalid` [075], with the nearest existing sets; if a repository that may have a matching backup
 * cannot be read, its error instead. With several repositories the message has a line for each.
 * @param showTime converts seconds since the epoch to text, in local time as in labels
 */
export function selectSet(
  repositories: readonly RepositoryBackups[],
  request: SetRequest,
  options: { readonly warn: (message: string) => void; readonly showTime: (seconds: number) => string },
): SelectedSet {
  const skipped: { readonly message: string; readonly unusable: boolean }[] = []
  for (const { key, info, failure } of repositories) {
    if (info === undefined) {
      skipped.push({ message: `${repoId(key)}: ${failure?.message ?? 'no backup information'}`, unusable: true })
      continue
    }
    const newestFirst = [...info.backups].reverse()
    const newest = newestFirst[0]
    if (newest === undefined) {
      skipped.push({ message: `${repoId(key)}: no backup sets to restore`, unusable: false })
      continue
    }
    const entry = choose(newestFirst, { info, key }, request, options.warn)
    if (entry === undefined) continue
    for (const { message } of skipped) options.warn(message)
    return { repoKey: key, entry, info }
  }
  // With several repositories the error message lists these findings.
  if (repositories.length === 1) for (const { message, unusable } of skipped) if (!unusable) options.warn(message)
  throw unreadable(repositories) ?? notFound(repositories, request, options.showTime)
}

function choose(
  newestFirst: readonly BackupEntry[],
  { info, key }: { readonly info: BackupInfo; readonly key: number },
  request: SetRequest,
  warn: (message: string) => void,
): BackupEntry | undefined {
  const newest = newestFirst[0]!
  switch (request.kind) {
    case 'set':
      return newestFirst.find((backup) => backup.label === request.label)
    case 'latest':
      if (newest.historyId >= info.currentId) return newest
      throw new PgtsError(
        'backup-set-invalid',
        `the latest backup set found '${newest.label}' on ${repoId(key)} is from a prior version of PostgreSQL`,
        {
          hints: [
            'take a backup of the current cluster after stanza-upgrade',
            `use --set=${newest.label}, or --type=time or --type=lsn, to restore the cluster of the prior version`,
          ],
        },
      )
    case 'time':
      return newestFirst.find((backup) => backup.timestampStop < Math.floor(request.target))
    case 'lsn':
      for (const backup of newestFirst) {
        if (backup.lsnStop === undefined) {
          warn(`${repoId(key)}: backup ${backup.label} does not record its stop LSN: select older sets with --set`)
          return undefined
        }
        if (parseLsn(backup.lsnStop) <= request.target) return backup
      }
      return undefined
  }
}

/**
 * The error code of the first unreadable repository: it may have the backup, so the backup cannot be reported as
 * missing.
 */
function unreadable(repositories: readonly RepositoryBackups[]): PgtsError | undefined {
  const failures = repositories.flatMap(({ failure }) =>
    failure === undefined || failure.code === 'file-missing' ? [] : [failure],
  )
  const [first] = failures
  if (first === undefined) return undefined
  const message =
    repositories.length === 1
      ? first.message
      : ['cannot select a backup set: not every repository can be read', ...findings(repositories)].join('\n')
  return new PgtsError(first.code, message, { hints: [...new Set(failures.flatMap(({ hints }) => hints))] })
}

/** `repo1: [041] cannot open ...`, one line for each repository. */
function findings(repositories: readonly RepositoryBackups[]): string[] {
  return repositories.map(({ key, info, failure }) => {
    if (failure !== undefined) return describeFailure(key, fromPlainError(failure))
    const count = info?.backups.length ?? 0
    return count === 0
      ? `${repoId(key)}: no backup sets to restore`
      : `${repoId(key)}: ${count} backup sets, none matches`
  })
}

function notFound(
  repositories: readonly RepositoryBackups[],
  request: SetRequest,
  showTime: (seconds: number) => string,
): PgtsError {
  const all = repositories.flatMap(({ key, info }) => (info?.backups ?? []).map((backup) => ({ key, backup })))
  const describe = ({ key, backup }: (typeof all)[number]) =>
    `${backup.label} on ${repoId(key)}, stopped ${showTime(backup.timestampStop)}` +
    (backup.lsnStop === undefined ? '' : ` at ${backup.lsnStop}`)
  const hints: string[] = []
  const several = repositories.length > 1
  for (const { key, failure } of repositories) {
    if (failure === undefined) continue
    if (!several) hints.push(`${repoId(key)}: ${failure.message}`)
    hints.push(...failure.hints)
  }
  // Without backup.info it is unknown whether the repository has no backup or the configured path is wrong.
  if (all.length === 0 && repositories.every(({ failure }) => failure === undefined))
    hints.push('run info to see the backups of the repositories; take a backup first')
  const error = (message: string) =>
    new PgtsError('backup-set-invalid', [message, ...(several ? findings(repositories) : [])].join('\n'), {
      hints: [...new Set(hints)],
    })
  switch (request.kind) {
    case 'set': {
      // Nearest in time: labels begin with the time, so they sort by time.
      const sorted = all.map(describe).sort()
      const at = sorted.findIndex((text) => text > request.label)
      const from = Math.max(0, (at < 0 ? sorted.length : at) - 2)
      hints.push(...sorted.slice(from, from + 4).map((text) => `available: ${text}`))
      return error(`backup set ${request.label} is not valid`)
    }
    case 'latest':
      return error('no backup set found to restore')
    case 'time':
    case 'lsn': {
      const oldest = [...all].sort((a, b) => a.backup.timestampStop - b.backup.timestampStop)[0]
      if (oldest !== undefined) {
        hints.push(`the oldest backup is ${describe(oldest)}: recovery can only reach later points in time`)
      }
      return error(
        request.kind === 'time'
          ? `unable to find backup set with stop time less than '${request.text}'`
          : `unable to find backup set with LSN less than or equal to '${formatLsn(request.target)}'`,
      )
    }
  }
}
