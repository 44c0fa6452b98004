import { spoolPaths } from '../core/archive/spool/spool-files.ts'
import { removeSpool } from '../core/archive/spool/remove-spool.ts'
import { loadBackupInfo, loadManifest } from '../core/info-store.ts'
import type { Repository } from '../core/repository.ts'
import { confirmExisting, refuseRunningServer } from '../core/restore/check-target.ts'
import { cleanAndPrepare, removeControl } from '../core/restore/clean.ts'
import { restoreFiles } from '../core/restore/restore-files.ts'
import { finishRestore, MANIFEST_NAME } from '../core/restore/finish.ts'
import { prepareTarget } from '../core/restore/prepare.ts'
import { recoverySettings, type RecoveryPolicy, type RestoreType } from '../core/restore/recovery.ts'
import { assertRestorable } from '../core/restore/restorable.ts'
import { selectSet, type RepositoryBackups } from '../core/restore/select-set.ts'
import { statEntry, writeSmallFile } from '../core/restore/file-system.ts'
import { writeRecovery } from '../core/restore/write-recovery.ts'
import { serialiseManifest } from '../format/manifest-serialise.ts'
import { type Manifest } from '../format/manifest.ts'
import { localOwnerIds } from '../postgres/owner-ids.ts'
import { asBytes, bytes, bytesToText, decodeUtf8 } from '../util/byte-string.ts'
import { toPlainError } from '../util/error.ts'
import { formatSize } from '../util/format-size.ts'
import { markHandled } from '../util/mark-handled.ts'
import type { LockProgress } from '../util/lock-file.ts'
import { zonedDateTime } from '../util/local-time.ts'
import type { jobHandlers } from '../core/jobs.ts'
import type { Executor } from '../worker/executor.ts'
import type { CommandContext } from './context.ts'
import {
  askEarly,
  checkArchive,
  isSameSpan,
  listedSpan,
  majorOf,
  manifestSpan,
  warnOfArchiving,
} from './restore/archive.ts'
import { databaseChoice, localPgPath, recoveryPolicy, remapPolicy, requestedSet } from './restore/options.ts'
import { repoId } from '../util/repo-id.ts'

export interface RestoreReport {
  readonly label: string
  readonly repoKey: number
  readonly type: RestoreType
  /** Data directory that was restored to. */
  readonly pgPath: string
  /** Size of all files, and of those that were written. */
  readonly sizeBytes: number
  readonly restoredBytes: number
  readonly files: number
  readonly restored: number
  /** Existing files with a matching checksum. */
  readonly unchanged: number
  /** Files of excluded databases. */
  readonly zeroed: number
  /** Entries that were not in the backup. */
  readonly removed: number
  readonly durationMs: number
}

/** Restore a cluster from a repository, completely or only the differences. */
export async function restore(ctx: CommandContext<'restore'>): Promise<RestoreReport> {
  const { options, log, clock, signal, stanza } = ctx
  const startMs = clock.nowMs()
  const pgPath = localPgPath(ctx)
  await using lock = await ctx.lock()

  // Refuse a running cluster, and delete nothing in a directory that does not look like a cluster.
  refuseRunningServer(pgPath)
  const { existing, warning } = confirmExisting(pgPath, { delta: options.delta, force: options.force })
  if (warning !== undefined) log.warn(warning)

  // Choose the backup and check that recovery can reach its target. All refusals happen here, before anything is
  // changed.
  const repositories = await ctx.repositories()
  const [first] = repositories
  // If only one repository is possible, its workers start while it is read.
  await using early = repositories.length === 1 ? await openExecutor(ctx, first!) : undefined
  const { repository, original, policy } = await chooseBackup(ctx, repositories, early)
  warnOfArchiving(ctx, original, pgPath)
  await using executor = early ?? (await openExecutor(ctx, repository))
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
  executor.expect({ bytes: plan.sizeBytes, files: plan.files.length })

  // From here the old cluster cannot start until pg_control, the last file, is restored. The
  // manifest marks an unfinished restore for the next one, with the identity of the cluster.
  const syncUnchanged = statEntry(bytes`${pgPath}/${MANIFEST_NAME}`) !== undefined
  removeSpool(spoolPaths(options.spoolPath, stanza), log)
  removeControl(pgPath, log)
  writeSmallFile(bytes`${pgPath}/${MANIFEST_NAME}`, serialiseManifest(withoutCipherPass(manifest)), own.mode, own.owner)
  if (existing.delta || existing.force) {
    for (const { path } of layout.places) log.info(`remove invalid files/links/paths from '${bytesToText(path)}'`)
  }
  cleanAndPrepare(plan, layout, ownership, log, signal)
  const progress = (done: LockProgress) => lock.update(done)
  const around = { executor, repository, log, signal, progress }
  const copied = await restoreFiles({ plan, manifest, stanza, ownership, syncUnchanged, ...around })
  // The workers end while the restore is finished.
  markHandled(executor[Symbol.asyncDispose]())

  const autoConfPath = layout.physicalPath(asBytes('pg_data/postgresql.auto.conf'))
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

/** Chooses the backup that matches the request; loads its manifest, and determines the recovery settings. */
async function chooseBackup(
  ctx: CommandContext<'restore'>,
  repositories: readonly Repository[],
  executor: Executor<typeof jobHandlers> | undefined,
): Promise<{ repository: Repository; original: Manifest; policy: RecoveryPolicy }> {
  const { log, signal, stanza } = ctx
  const request = requestedSet(ctx)
  const backups = await readBackups(ctx, repositories)
  const selected = selectSet(backups, request.set, {
    warn: (message) => log.warn(message),
    showTime: zonedDateTime,
  })
  const { label, sizeBytes } = selected.entry
  // The manifest, which is loaded now, says how many files that are.
  executor?.expect({ bytes: sizeBytes })
  const repository = repositories.find(({ key }) => key === selected.repoKey)!
  const info = backups.find(({ key }) => key === repository.key)!.info!
  // backup.info contains the WAL range of the backup, so the archive is read while the manifest is being loaded; the
  // manifest's range is the valid one.
  const listed = listedSpan(selected.entry, info)
  const asked = askEarly(ctx, repository, { span: listed, info, target: request.target })
  const original = await loadManifest(repository.storage, stanza, label, info, { signal, log })
  await assertRestorable(original, label)

  const { online } = original.options
  const policy = recoveryPolicy(ctx, online, request.target)
  recoverySettings(policy, majorOf(original.db)) // its errors must come before anything is overwritten
  const span = manifestSpan(original)
  const warnings =
    asked !== undefined && isSameSpan(listed, span)
      ? await asked
      : await checkArchive(ctx, repository, { span, info, target: request.target })
  for (const message of warnings) log.warn(message)
  const from = online ? `, recovery will start at ${zonedDateTime(original.timestampStart)}` : ''
  log.info(`${repoId(repository.key)}: restore backup set ${label}${from}`)
  return { repository, original, policy }
}

async function openExecutor(
  ctx: CommandContext<'restore'>,
  repository: Repository,
): Promise<Executor<typeof jobHandlers>> {
  const executor = await ctx.executor([repository])
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
      // Another repository may have the backup; if none has, this error is thrown.
      read.push({ key, failure: toPlainError(error) })
    }
  }
  return read
}

/** The copy of the manifest in the data directory is not encrypted and has no passphrase. */
function withoutCipherPass(manifest: Manifest): Manifest {
  const { cipherPass: _, ...rest } = manifest
  return rest
}
