import { spoolPaths } from '../core/archive/spool/spool-files.ts'
import { removeSpool } from '../core/archive/spool/remove-spool.ts'
import { cleanAndPrepare, removeControl } from '../core/restore/clean.ts'
import { statEntry, writeSmallFile } from '../core/restore/file-system.ts'
import { finishRestore, MANIFEST_NAME } from '../core/restore/finish.ts'
import type { RestoreType } from '../core/restore/recovery.ts'
import { restoreFiles } from '../core/restore/restore-files.ts'
import { writeRecovery } from '../core/restore/write-recovery.ts'
import { serialiseManifest } from '../format/manifest-serialise.ts'
import { type Manifest } from '../format/manifest.ts'
import { asBytes, bytes, bytesToText, decodeUtf8 } from '../util/byte-string.ts'
import { formatSize } from '../util/format-size.ts'
import { markHandled } from '../util/mark-handled.ts'
import type { LockProgress } from '../util/lock-file.ts'
import { zonedDateTime } from '../util/local-time.ts'
import type { CommandContext } from './context.ts'
import { applyCopyMark } from './restore/copy.ts'
import { warnOfDamagedTotal } from './restore/damaged-pages.ts'
import { localPgPath } from './restore/options.ts'
import { examineTarget, prepareRestore, reportPlan, type PreparedRestore } from './restore/prepare.ts'
import { Problems } from './restore/problems.ts'

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
  await using lock = await ctx.lock()
  return await restoreCluster(ctx, {
    problems: new Problems(ctx),
    beforeChanges: () => removeSpool(spoolPaths(ctx.options.spoolPath, ctx.stanza), ctx.log),
    progress: (done) => lock.update(done),
  })
}

export interface RestoreRun {
  readonly problems: Problems
  /** Called when everything was checked, before anything is changed. */
  beforeChanges(prepared: PreparedRestore): void
  /** Called every tenth of the bytes. */
  progress(done: LockProgress): void
}

/** Restores the cluster; the caller holds the lock of the directory. */
export async function restoreCluster(
  ctx: CommandContext<'restore'>,
  { problems, beforeChanges, progress }: RestoreRun,
): Promise<RestoreReport> {
  const { log, clock, signal, stanza } = ctx
  const startMs = clock.nowMs()
  const pgPath = localPgPath(ctx)
  const existing = examineTarget(ctx, pgPath, problems)

  // Choose the backup and check that recovery can reach its target. All refusals happen here, before anything is
  // changed.
  const repositories = await ctx.repositories()
  const [first] = repositories
  // If only one repository is possible, its workers start while its manifest is read.
  await using early = repositories.length === 1 ? await ctx.executor([first!]) : undefined
  const prepared = await prepareRestore(ctx, { pgPath, existing }, early, problems)
  const { repository, original, policy, major, damaged, mark } = prepared
  const { manifest, layout, ownership, plan, own, createDataDirectory } = prepared.target
  await using executor = early ?? (await ctx.executor([repository]))
  executor.expect({ bytes: plan.sizeBytes, files: plan.files.length })

  await ctx.progress.plan(() => reportPlan(ctx, prepared, problems))

  // From here the old cluster cannot start until pg_control, the last file, is restored. The
  // manifest marks an unfinished restore for the next one, with the identity of the cluster.
  const syncUnchanged = statEntry(bytes`${pgPath}/${MANIFEST_NAME}`) !== undefined
  beforeChanges(prepared)
  removeControl(pgPath, log)
  createDataDirectory()
  // Before the manifest: an interrupted restore of a copy must not look like an original.
  applyCopyMark(pgPath, mark, own)
  writeSmallFile(bytes`${pgPath}/${MANIFEST_NAME}`, serialiseManifest(withoutCipherPass(manifest)), own.mode, own.owner)
  if (existing.delta || existing.force) {
    for (const { path } of layout.places) log.info(`remove invalid files/links/paths from '${bytesToText(path)}'`)
  }
  cleanAndPrepare(plan, layout, ownership, log, signal)
  const around = { executor, repository, log, signal, progress, copied: (bytes: number) => ctx.progress.done(bytes) }
  ctx.progress.phase('restoring', plan.sizeBytes)
  const copied = await restoreFiles({ plan, manifest, stanza, ownership, syncUnchanged, ...around })
  ctx.progress.phase('syncing')
  // The workers end while the restore is finished.
  markHandled(executor[Symbol.asyncDispose]())

  const autoConfPath = layout.physicalPath(asBytes('pg_data/postgresql.auto.conf'))
  const when = zonedDateTime(Math.floor(clock.nowMs() / 1000))
  writeRecovery(policy, { pgPath, autoConfPath, major, ...own, when }, log)
  signal.throwIfAborted()
  finishRestore(plan, layout, {
    online: original.options.online,
    versionForce: ctx.options.pgVersionForce,
    log,
  })

  warnOfDamagedTotal(ctx, damaged)
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

/** The copy of the manifest in the data directory is not encrypted and has no passphrase. */
function withoutCipherPass(manifest: Manifest): Manifest {
  const { cipherPass: _, ...rest } = manifest
  return rest
}
