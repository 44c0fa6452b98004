import { spoolPaths } from '../core/archive/spool-files.ts'
import { removeSpool } from '../core/archive/spool-remove.ts'
import { loadArchiveInfo, loadBackupInfo, loadManifest } from '../core/info-store.ts'
import { confirmExisting, refuseRunningServer } from '../core/restore/check-target.ts'
import { cleanAndPrepare, removeControl } from '../core/restore/clean.ts'
import { copyBack } from '../core/restore/copy-back.ts'
import { finishRestore, MANIFEST_NAME } from '../core/restore/finish.ts'
import { prepareTarget } from '../core/restore/prepare.ts'
import { recoverySettings, type RecoveryPolicy, type RestoreType } from '../core/restore/recovery.ts'
import type { RecoveryTarget } from '../core/restore/recovery-target.ts'
import { assertRestorable } from '../core/restore/restorable.ts'
import { selectSet, type RepositoryBackups } from '../core/restore/select-set.ts'
import { writeSmallFile } from '../core/restore/target-files.ts'
import { checkTargetTimeline } from '../core/restore/timeline.ts'
import { writeRecovery } from '../core/restore/write-recovery.ts'
import type { BackupEntry, BackupInfo } from '../format/backup-info.ts'
import { serialiseManifest, type Manifest } from '../format/manifest.ts'
import { parseLsn, timelineOf } from '../format/wal-segment.ts'
import { localOwnerIds } from '../postgres/owner-ids.ts'
import { bytesToText, decodeUtf8 } from '../util/byte-string.ts'
import { toPlainError } from '../util/error.ts'
import { formatSize } from '../util/format-size.ts'
import { zonedDateTime } from '../util/local-time.ts'
import type { jobHandlers } from '../core/jobs.ts'
import type { Executor } from '../worker/executor.ts'
import type { CommandContext, Repository } from './context.ts'
import { databaseChoice, localPgPath, recoveryPolicy, remapPolicy, requestedSet } from './restore-options.ts'

export interface RestoreReport {
  readonly label: string
  readonly repoKey: number
  readonly type: RestoreType
  /** Data directory that was restored to. */
  readonly pgPath: string
  /** Of all files, and of those that had to be written. */
  readonly sizeBytes: number
  readonly restoredBytes: number
  readonly files: number
  readonly restored: number
  /** Were there already, proven equal. */
  readonly unchanged: number
  /** Of databases that were not wanted. */
  readonly zeroed: number
  /** Entries that were not in the backup. */
  readonly removed: number
  readonly durationMs: number
}

/** Bring a cluster back from a repository, whole or only what differs. */
export async function restore(ctx: CommandContext<'restore'>): Promise<RestoreReport> {
  const { options, log, clock, signal, stanza } = ctx
  const startMs = clock.nowMs()
  const pgPath = localPgPath(ctx)
  await using lock = await ctx.lock(['restore'])

  // Never over a live cluster, and nothing may be deleted in what does not look like a cluster.
  refuseRunningServer(pgPath)
  const { existing, warning } = confirmExisting(pgPath, { delta: options.delta, force: options.force })
  if (warning !== undefined) log.warn(warning)

  // Which backup, and can recovery get from it to where it should? All that can be refused is refused here.
  const repositories = await ctx.repositories()
  const [first] = repositories
  // Its workers start while the repository is asked, when it is known which one it will be.
  await using early = repositories.length === 1 ? await warmExecutor(ctx, first!) : undefined
  const { repository, original, policy } = await chooseBackup(ctx, repositories)
  await using executor = early ?? (await warmExecutor(ctx, repository))
  const { online } = original.options
  const major = majorOf(original.db)
  const { manifest, layout, ownership, plan, own } = prepareTarget({
    manifest: original,
    remap: remapPolicy(ctx, pgPath),
    databases: databaseChoice(ctx),
    existing,
    type: policy.type,
    major,
    owners: { uid: process.getuid?.() ?? 0, gid: process.getgid?.() ?? 0, ...localOwnerIds() },
    log,
  })
  signal.throwIfAborted()

  // From here the old cluster is gone: nothing can start until pg_control comes back as the very last thing. The
  // manifest tells the next restore that this one did not finish, and of which cluster it was.
  removeSpool(spoolPaths(options.spoolPath, stanza), log)
  removeControl(pgPath, log)
  writeSmallFile(`${pgPath}/${MANIFEST_NAME}`, serialiseManifest(withoutCipherPass(manifest)), own.mode, own.owner)
  if (existing.delta || existing.force) {
    for (const { path } of layout.places) log.info(`remove invalid files/links/paths from '${bytesToText(path)}'`)
  }
  cleanAndPrepare(plan, layout, ownership, log, signal)
  const progress = lock.update.bind(lock)
  const distant = repository.storage.parallel !== undefined
  const copied = await copyBack({ plan, manifest, stanza, ownership, executor, distant, log, signal, progress })

  const autoConfPath = layout.physicalPath('pg_data/postgresql.auto.conf')
  const when = zonedDateTime(Math.floor(clock.nowMs() / 1000))
  writeRecovery(policy, { pgPath, autoConfPath, major, ...own, when }, log)
  signal.throwIfAborted()
  finishRestore(plan, layout, { online, log })

  log.info(`restore size = ${formatSize(plan.sizeBytes)}, file total = ${copied.files}`)
  return {
    label: original.label,
    repoKey: repository.key,
    type: policy.type,
    pgPath: decodeUtf8(pgPath),
    sizeBytes: plan.sizeBytes,
    ...copied,
    removed: plan.remove.length,
    durationMs: clock.nowMs() - startMs,
  }
}

/** The backup that fits the request, with its manifest, and how the server will recover from it. */
async function chooseBackup(
  ctx: CommandContext<'restore'>,
  repositories: readonly Repository[],
): Promise<{ repository: Repository; original: Manifest; policy: RecoveryPolicy }> {
  const { log, signal, stanza } = ctx
  const request = requestedSet(ctx)
  const backups = await readBackups(ctx, repositories)
  const selected = selectSet(backups, request.set, {
    warn: (message) => log.warn(message),
    showTime: zonedDateTime,
  })
  const { label } = selected.entry
  const repository = repositories.find(({ key }) => key === selected.repoKey)!
  const info = backups.find(({ key }) => key === repository.key)!.info!
  // The list says already where the backup began, so the archive is asked while the manifest comes; that decides.
  const listed = beginningOf(selected.entry, info)
  const asked = askEarly(ctx, repository, listed, request.target)
  const original = await loadManifest(repository.storage, stanza, label, info, { signal, log })
  await assertRestorable(original, label)

  const { online } = original.options
  const policy = recoveryPolicy(ctx, online, request.target)
  recoverySettings(policy, majorOf(original.db)) // what it refuses, it must refuse before anything is overwritten
  const began = { label, ...original.db, online, archiveStart: original.archiveStart, lsnStart: original.lsnStart }
  if (asked !== undefined && isSameBeginning(listed, began)) await asked
  else await checkTimeline(ctx, repository, began, policy)
  const from = online ? `, recovery will start at ${zonedDateTime(original.timestampStart)}` : ''
  log.info(`repo${repository.key}: restore backup set ${label}${from}`)
  return { repository, original, policy }
}

async function warmExecutor(
  ctx: CommandContext<'restore'>,
  repository: Repository,
): Promise<Executor<typeof jobHandlers>> {
  const executor = await ctx.executor(repository)
  if (repository.storage.parallel !== undefined) executor.warm(executor.workers)
  return executor
}

async function readBackups(
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
      // Another repository may have what is asked for; when none has, this is part of the story.
      const { message, hints } = toPlainError(error)
      read.push({ key, problem: message, problemHints: hints })
    }
  }
  return read
}

/** Where a backup began, as the list of backups and its manifest both know it. */
interface Beginning {
  readonly label: string
  readonly online: boolean
  /** Of the cluster: `15`, `9.6`; and which one of its stanza. */
  readonly version?: string | undefined
  readonly historyId: number
  readonly archiveStart?: string | undefined
  readonly lsnStart?: string | undefined
}

function beginningOf(entry: BackupEntry, info: BackupInfo): Beginning {
  const { label, historyId, lsnStart, optionOnline: online } = entry
  const version = info.history.find(({ id }) => id === historyId)?.version
  return { label, online, version, historyId, archiveStart: entry.archiveStart ?? undefined, lsnStart }
}

function isSameBeginning(one: Beginning, other: Beginning): boolean {
  const keys = ['label', 'online', 'version', 'historyId', 'archiveStart', 'lsnStart'] as const
  return keys.every((key) => one[key] === other[key])
}

/** Where each answer takes a round trip; whoever waits for it hears of a failure. */
function askEarly(
  ctx: CommandContext<'restore'>,
  repository: Repository,
  listed: Beginning,
  target: RecoveryTarget | undefined,
): Promise<void> | undefined {
  if (repository.storage.parallel === undefined) return undefined
  const asked = checkTimeline(ctx, repository, listed, recoveryPolicy(ctx, listed.online, target))
  asked.catch(() => undefined)
  return asked
}

async function checkTimeline(
  ctx: CommandContext<'restore'>,
  repository: Repository,
  backup: Beginning,
  policy: RecoveryPolicy,
): Promise<void> {
  const { label, online, version, historyId, archiveStart, lsnStart } = backup
  // Without recovery, or with settings that are not ours, there is nothing to check.
  if (!online || version === undefined || archiveStart === undefined || lsnStart === undefined) return
  if (policy.type === 'none' || policy.type === 'preserve') return
  const { signal, log } = ctx
  // Only an encrypted history file needs archive.info: a backup restores without its archive, too.
  const archive =
    repository.cipher === undefined ? undefined : await loadArchiveInfo(repository, ctx.stanza, { signal, log })
  await checkTargetTimeline(repository.storage, {
    cipherPass: archive?.cipherPass,
    stanza: ctx.stanza,
    archiveId: `${version}-${historyId}`,
    major: majorOf({ version }),
    type: policy.type,
    ...(policy.targetTimeline === undefined ? {} : { targetTimeline: policy.targetTimeline }),
    backup: { label, timeline: timelineOf(archiveStart), lsnStart: parseLsn(lsnStart) },
    signal,
  })
}

/** In the data directory the manifest is not encrypted, and nobody needs the passphrase there. */
function withoutCipherPass(manifest: Manifest): Manifest {
  const { cipherPass: _, ...rest } = manifest
  return rest
}

/** 9 for `9.6`, 15 for `15`. */
function majorOf({ version }: { readonly version: string }): number {
  return Number.parseInt(version, 10)
}
