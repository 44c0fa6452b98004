import { spoolPaths } from '../core/archive/spool-files.ts'
import { removeSpool } from '../core/archive/spool-remove.ts'
import { loadBackupInfo, loadManifest } from '../core/info-store.ts'
import { confirmExisting, refuseRunningServer } from '../core/restore/check-target.ts'
import { cleanAndPrepare, removeControl } from '../core/restore/clean.ts'
import { copyBack } from '../core/restore/copy-back.ts'
import { finishRestore, MANIFEST_NAME } from '../core/restore/finish.ts'
import { prepareTarget } from '../core/restore/prepare.ts'
import { recoverySettings, type RecoveryPolicy, type RestoreType } from '../core/restore/recovery.ts'
import { assertRestorable } from '../core/restore/restorable.ts'
import { selectSet, type RepositoryBackups } from '../core/restore/select-set.ts'
import { writeSmallFile } from '../core/restore/target-files.ts'
import { writeRecovery } from '../core/restore/write-recovery.ts'
import { serialiseManifest, type Manifest } from '../format/manifest.ts'
import { localOwnerIds } from '../postgres/owner-ids.ts'
import { bytesToText, decodeUtf8 } from '../util/byte-string.ts'
import { toPlainError } from '../util/error.ts'
import { formatSize } from '../util/format-size.ts'
import type { LockProgress } from '../util/lock-file.ts'
import { zonedDateTime } from '../util/local-time.ts'
import type { jobHandlers } from '../core/jobs.ts'
import type { Executor } from '../worker/executor.ts'
import type { CommandContext, Repository } from './context.ts'
import {
  askEarly,
  checkArchive,
  isSameSpan,
  listedSpan,
  majorOf,
  manifestSpan,
  warnOfArchiving,
} from './restore-archive.ts'
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
  await using lock = await ctx.lock()

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
  warnOfArchiving(ctx, original, pgPath)
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
  const progress = (done: LockProgress) => lock.update(done)
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
  // The list says already where the backup lies in the WAL, so the archive is asked while the manifest comes; that decides.
  const listed = listedSpan(selected.entry, info)
  const asked = askEarly(ctx, repository, { span: listed, info, target: request.target })
  const original = await loadManifest(repository.storage, stanza, label, info, { signal, log })
  await assertRestorable(original, label)

  const { online } = original.options
  const policy = recoveryPolicy(ctx, online, request.target)
  recoverySettings(policy, majorOf(original.db)) // what it refuses, it must refuse before anything is overwritten
  const span = manifestSpan(original)
  const warnings =
    asked !== undefined && isSameSpan(listed, span)
      ? await asked
      : await checkArchive(ctx, repository, { span, info, target: request.target })
  for (const message of warnings) log.warn(message)
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
      // Another repository may have what is asked for; if none has, this is the error.
      read.push({ key, failure: toPlainError(error) })
    }
  }
  return read
}

/** In the data directory the manifest is not encrypted, and nobody needs the passphrase there. */
function withoutCipherPass(manifest: Manifest): Manifest {
  const { cipherPass: _, ...rest } = manifest
  return rest
}
