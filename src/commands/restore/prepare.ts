import type { jobHandlers } from '../../core/jobs.ts'
import type { CopyMark } from '../../core/cluster-copy/copy-mark.ts'
import { confirmExisting, refuseRunningServer } from '../../core/restore/check-target.ts'
import { expectedDuration } from '../../core/restore/expected-duration.ts'
import { listDrills } from '../../core/drill/store.ts'
import type { DrillRecord } from '../../core/drill/record.ts'
import type { Repository } from '../../core/repository.ts'
import type { ExistingFiles } from '../../core/restore/plan.ts'
import { totalsOf, type PlannedSettings, type RestorePlanReport } from '../../core/restore/plan-report.ts'
import { prepareTarget, type PreparedTarget } from '../../core/restore/prepare.ts'
import { recoverySettings, type RecoveryPolicy } from '../../core/restore/recovery.ts'
import { isTooSmall, spaceOf, type FileSystemSpace } from '../../core/restore/space.ts'
import { recoveryFiles } from '../../core/restore/write-recovery.ts'
import type { ManifestFile } from '../../format/manifest.ts'
import { localOwnerIds } from '../../postgres/owner-ids.ts'
import { asBytes, bytesToText, type ByteString } from '../../util/byte-string.ts'
import { formatSize } from '../../util/format-size.ts'
import type { Executor } from '../../worker/executor.ts'
import type { CommandContext } from '../context.ts'
import { majorOf } from './archive.ts'
import { chooseBackup, type Chosen } from './choose.ts'
import { copyMarkFor } from './copy.ts'
import { databaseChoice, remapPolicy } from './options.ts'
import { checkDamagedPages } from './damaged-pages.ts'
import type { Problems } from './problems.ts'

type Context = CommandContext<'restore'>

/** So many of the newest drills are searched for one that measured a restore. */
const RECENT_DRILLS = 5

/** Refuses a running cluster, and deletes nothing in a directory that does not look like a cluster. */
export function examineTarget({ options }: Context, pgPath: ByteString, problems: Problems): ExistingFiles {
  problems.check(() => refuseRunningServer(pgPath))
  const { existing, warning } = confirmExisting(pgPath, { delta: options.delta, force: options.force })
  if (warning !== undefined) problems.warn(warning)
  return existing
}

export interface PreparedRestore extends Chosen {
  readonly major: number
  readonly target: PreparedTarget
  readonly space: readonly FileSystemSpace[]
  /** Files to restore with invalid page checksums. */
  readonly damaged: readonly ManifestFile[]
  /** Present if the restored cluster is a copy. */
  readonly mark?: CopyMark
}

/** Chooses the backup and plans the restore. All refusals happen here, and nothing is changed. */
export async function prepareRestore(
  ctx: Context,
  { pgPath, existing }: { readonly pgPath: ByteString; readonly existing: ExistingFiles },
  executor: Executor<typeof jobHandlers> | undefined,
  problems: Problems,
): Promise<PreparedRestore> {
  const { signal } = ctx
  const log = problems.logger
  const chosen = await chooseBackup(ctx, await ctx.repositories(), executor, problems)
  const mark = await copyMarkFor({ ...ctx, log }, chosen, pgPath)
  const major = majorOf(chosen.original.db)
  const target = prepareTarget({
    manifest: chosen.original,
    remap: remapPolicy(ctx, pgPath),
    databases: databaseChoice(ctx),
    existing,
    type: chosen.policy.type,
    major,
    versionForce: ctx.options.pgVersionForce,
    owners: { uid: process.getuid?.() ?? 0, gid: process.getgid?.() ?? 0, ...localOwnerIds() },
    log,
    check: (check) => problems.check(check),
  })
  signal.throwIfAborted()
  const damaged = checkDamagedPages(ctx, chosen.original.label, target.plan, problems)
  const space = spaceOf(target.plan, target.layout, ctx.options.dryRun)
  for (const system of space) {
    if (!isTooSmall(system)) continue
    const { path, neededBytes, freeBytes } = system
    problems.add({
      kind: 'space',
      message:
        `the file system of '${bytesToText(path)}' has ${formatSize(freeBytes)} free, ` +
        `but the restored files need ${formatSize(neededBytes)} more`,
      hints: ['free disk space, or restore to another file system with pg1-path or tablespace-map'],
    })
  }
  return { ...chosen, major, target, space, damaged, mark }
}

export async function reportPlan(
  ctx: Context,
  prepared: PreparedRestore,
  problems: Problems,
): Promise<RestorePlanReport> {
  const { repository, info, entry, why, policy, reach, found, major, target, space } = prepared
  const files = totalsOf(target.plan)
  return {
    stanza: ctx.stanza,
    repoKey: repository.key,
    backup: entry,
    why,
    policy,
    verdict: reach.verdict,
    found,
    window: reach.window,
    wal: reach.wal,
    files,
    fileSystems: space,
    settings: plannedSettings(policy, target, major),
    duration: expectedDuration(
      info.backups,
      await recentDrills(ctx, repository),
      files.write.bytes + files.compare.bytes,
    ),
    problems: problems.found,
  }
}

/** They are for information only. */
async function recentDrills({ stanza, signal }: Context, repository: Repository): Promise<readonly DrillRecord[]> {
  try {
    return await listDrills(repository, stanza, { signal, most: RECENT_DRILLS })
  } catch {
    signal.throwIfAborted()
    return []
  }
}

function plannedSettings(policy: RecoveryPolicy, { layout }: PreparedTarget, major: number): PlannedSettings {
  if (policy.type === 'none' || policy.type === 'preserve') return { values: new Map() }
  const autoConfPath = layout.physicalPath(asBytes('pg_data/postgresql.auto.conf'))
  const { file, signalFile } = recoveryFiles(policy.type, { pgPath: layout.pgPath, autoConfPath, major })
  return { file, signalFile, values: recoverySettings(policy, major) }
}
