import { loadBackupInfo } from '../../core/backup-info-store.ts'
import { loadManifest } from '../../core/manifest-store.ts'
import type { jobHandlers } from '../../core/jobs.ts'
import type { Repository } from '../../core/repository.ts'
import type { FoundTarget } from '../../core/restore/plan-report.ts'
import { recoverySettings, type RecoveryPolicy } from '../../core/restore/recovery.ts'
import { assertRestorable } from '../../core/restore/restorable.ts'
import { selectSet, type RepositoryBackups, type SelectedSet, type SetRequest } from '../../core/restore/select-set.ts'
import type { BackupEntry, BackupInfo } from '../../format/backup-info.ts'
import type { Manifest } from '../../format/manifest.ts'
import { toPlainError } from '../../util/error.ts'
import { zonedDateTime } from '../../util/local-time.ts'
import { repoId } from '../../util/repo-id.ts'
import type { Executor } from '../../worker/executor.ts'
import type { CommandContext } from '../context.ts'
import { askEarly, checkArchive, isSameSpan, listedSpan, majorOf, manifestSpan, type ArchiveAnswer } from './archive.ts'
import { findTarget } from './find.ts'
import { recoveryPolicy, requestedSet, type RequestedSet } from './options.ts'
import type { Problems } from './problems.ts'

/** The backup to restore, and what is known of its recovery. */
export interface Chosen extends Selected {
  /** Why this backup was chosen. */
  readonly why: string
  readonly original: Manifest
  readonly policy: RecoveryPolicy
  readonly reach: ArchiveAnswer
  /** Of --find-target. */
  readonly found?: FoundTarget
}

/** The backup that matches a request. */
export interface Selected {
  readonly repository: Repository
  readonly info: BackupInfo
  readonly entry: BackupEntry
}

/** Selects the backup that matches the request. Errors: as `selectSet` */
export async function selectBackup(
  ctx: CommandContext<'restore'>,
  repositories: readonly Repository[],
  { set }: RequestedSet,
  warn: (message: string) => void,
): Promise<Selected> {
  return selectedOf(repositories, selectFrom(await readBackups(ctx, repositories), set, warn))
}

function selectFrom(
  backups: readonly RepositoryBackups[],
  set: SetRequest,
  warn: (message: string) => void,
): SelectedSet {
  return selectSet(backups, set, { warn, showTime: zonedDateTime })
}

function selectedOf(repositories: readonly Repository[], { repoKey, entry, info }: SelectedSet): Selected {
  return { repository: repositories.find(({ key }) => key === repoKey)!, info, entry }
}

/** Chooses the backup that matches the request; loads its manifest, and determines the recovery settings. */
export async function chooseBackup(
  ctx: CommandContext<'restore'>,
  repositories: readonly Repository[],
  executor: Executor<typeof jobHandlers> | undefined,
  problems: Problems,
): Promise<Chosen> {
  const { log, signal, stanza } = ctx
  const request = requestedSet(ctx)
  const backups = await readBackups(ctx, repositories)
  const search = await findTarget(ctx, repositories, backups, request, problems)
  const { repository, info, entry } = selectedOf(
    repositories,
    search?.selected ?? selectFrom(backups, request.set, (message) => problems.warn(message)),
  )
  const { label, sizeBytes } = entry
  // The manifest, which is loaded now, says how many files that are.
  executor?.expect({ bytes: sizeBytes })
  // backup.info contains the WAL range of the backup, so the archive is read while the manifest is being loaded; the
  // manifest's range is the valid one.
  const listed = listedSpan(entry, info)
  const question = { info, target: request.target, found: search?.found.stop }
  const asked = askEarly(ctx, repository, { span: listed, ...question })
  const original = await loadManifest(repository.storage, stanza, label, info, { signal, log })
  await assertRestorable(original, label)

  const { online } = original.options
  const policy = recoveryPolicy(ctx, online, request.target)
  recoverySettings(policy, majorOf(original.db)) // its errors must come before anything is overwritten
  const span = manifestSpan(original)
  const reach =
    asked !== undefined && isSameSpan(listed, span)
      ? await asked
      : await checkArchive(ctx, repository, { span, ...question })
  for (const finding of reach.findings) problems.add(finding)
  const from = online ? `, recovery will start at ${zonedDateTime(original.timestampStart)}` : ''
  if (!ctx.options.dryRun) log.info(`${repoId(repository.key)}: restore backup set ${label}${from}`)
  const why = reasonFor(request.set, search !== undefined)
  return { repository, info, entry, why, original, policy, reach, found: search?.found }
}

function reasonFor(request: SetRequest, isFound: boolean): string {
  if (isFound && request.kind !== 'set') return 'the newest backup that ended before the target in the WAL'
  switch (request.kind) {
    case 'set':
      return 'requested with --set'
    case 'latest':
      return 'the newest backup'
    case 'time':
      return 'the newest backup that stopped before the target time'
    case 'lsn':
      return 'the newest backup that stopped at or before the target LSN'
  }
}

export async function readBackups(
  ctx: CommandContext<'restore'>,
  repositories: readonly Repository[],
): Promise<RepositoryBackups[]> {
  const read: RepositoryBackups[] = []
  for (const repository of repositories) {
    const { key } = repository
    try {
      read.push({ key, info: await loadBackupInfo(repository, ctx.stanza, { signal: ctx.signal, log: ctx.log }) })
    } catch (error) {
      ctx.signal.throwIfAborted()
      // Another repository may have the backup; if none has, this error is thrown.
      read.push({ key, failure: toPlainError(error) })
    }
  }
  return read
}
