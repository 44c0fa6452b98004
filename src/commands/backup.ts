import { removeFailedBackupIfDiskFull } from '../core/backup/remove-failed.ts'
import type { Repository } from '../core/repository.ts'
import type { ArchiveInfo } from '../format/archive-info.ts'
import type { BackupType, ManifestFile } from '../format/manifest.ts'
import { PgtsError } from '../util/error.ts'
import { formatSize } from '../util/format-size.ts'
import { markHandled } from '../util/mark-handled.ts'
import { awaitStandby, begin, checkArchiving, isOnStandby } from './backup/begin.ts'
import { choose } from './backup/choices.ts'
import { chooseClusters } from './backup/clusters.ts'
import { copy, openExecutors } from './backup/copy.ts'
import { concludeDamagedPages } from './backup/damaged-pages.ts'
import { finish, type FinishedBackup } from './backup/finish.ts'
import { beforeBackup, withAfterHook, type BackupRun } from './backup/hooks.ts'
import { identify, loadInfos } from './backup/identify.ts'
import { listCluster, planBackup } from './backup/plan.ts'
import { assertReady, refuseRunningServer } from './backup/ready.ts'
import { connectForRole, leaseOrSkip, type SkippedBackup } from './backup/turn.ts'
import { recordMissingTimes } from './shared/record-missing-times.ts'
import { recordArchivingHost } from './shared/record-host.ts'
import type { CommandContext, StanzaLock } from './context.ts'
import type { Clusters } from './shared/primary.ts'
import { expireAfterBackup } from './expire.ts'
import { repoId } from '../util/repo-id.ts'

export type { SkippedBackup } from './backup/turn.ts'

export interface BackupReport {
  readonly label: string
  readonly type: BackupType
  readonly repoKey: number
  readonly fileCount: number
  /** Content, bytes. */
  readonly sizeBytes: number
  /** As stored, bytes. */
  readonly repoSizeBytes: number
  /** Manifest names of the files with damaged pages, in this backup or in those it refers to. */
  readonly pageErrorFiles: readonly string[]
  /** From its start to its stop on the server, in whole seconds; `info` shows both times. */
  readonly durationMs: number
}

/** Take one backup of one cluster into one repository, then expire in every repository, or in that of --repo. */
export async function backup(ctx: CommandContext<'backup'>): Promise<BackupReport | SkippedBackup> {
  const result = await withAfterHook(ctx, async (run) => {
    const connected = await connectForRole(ctx)
    if (connected === undefined) return backupAndExpire(ctx, run)
    if ('skipped' in connected) return connected
    await using clusters = connected
    return await backupAndExpire(ctx, run, clusters)
  })
  if ('skipped' in result) ctx.log.info(`no backup was taken: ${result.skipped}`)
  return result
}

async function backupAndExpire(
  ctx: CommandContext<'backup'>,
  run: BackupRun,
  connected?: Clusters,
): Promise<BackupReport | SkippedBackup> {
  await using lock = await ctx.lock()
  await beforeBackup(ctx, run)
  const repository = await chooseRepository(ctx)
  const taken = await leaseOrSkip(ctx, repository)
  if ('skipped' in taken) return taken
  await using _lease = taken
  const attempt: Attempt = {}
  const { manifest, entry, damaged, archiveInfo } = await takeBackup(
    ctx,
    { repository, lock, connected },
    attempt,
  ).catch(async (error: unknown) => {
    // Workers have ended by now, so no file appears in the directory while it is removed.
    await removeFailedBackupIfDiskFull(repository.storage, ctx.stanza, attempt.label, error, ctx.log)
    throw error
  })
  const report = reportOf(ctx, repository, { manifest, entry, damaged })
  run.report = report
  concludeDamagedPages(ctx, report.label, damaged)
  if (ctx.options.expireAuto) await expireAfterBackup(ctx, lock, repository.key)
  else await recordMissingTimes(ctx, repository, archiveInfo)
  return report
}

/** What is known of a backup when it fails. */
interface Attempt {
  label?: string
}

interface TakenBackup extends FinishedBackup {
  readonly damaged: readonly ManifestFile[]
  readonly archiveInfo: ArchiveInfo
}

async function takeBackup(
  ctx: CommandContext<'backup'>,
  { repository, lock, connected }: { repository: Repository; lock: StanzaLock; connected?: Clusters },
  attempt: Attempt,
): Promise<TakenBackup> {
  const infos = await loadInfos(ctx, repository)
  await using clusters = ctx.options.online ? await chooseClusters(ctx, connected) : undefined
  const main = clusters?.main ?? { cluster: await ctx.cluster(), server: undefined }
  const { cluster, server } = main
  const source = { ...(await identify(ctx, repository, infos, main)), standby: clusters?.standby }
  if (server === undefined) await refuseRunningServer(ctx, cluster)
  else assertReady(ctx, server, source)
  const choices = await choose(ctx, repository, source)

  // PostgreSQL is in backup mode from here until finish(), or until this block exits for any reason.
  const run = await begin({ ctx, repository, source, server, ...choices })
  await using _session = run.started?.session
  await awaitStandby(run)
  const listed = listCluster(run)
  markHandled(listed)
  await checkArchiving(run)

  await using executors = await openExecutors(run)
  const plan = await planBackup(run, await listed, executors.data)
  attempt.label = plan.backup.label
  const damaged = await copy(run, plan, executors, lock)
  // The workers end while the backup is finished.
  markHandled(executors[Symbol.asyncDispose]())
  const host = isOnStandby(run) ? undefined : cluster.hostIdentity()
  if (host !== undefined) markHandled(host)
  const finished = await finish(run, plan)
  if (host !== undefined) await recordArchivingHost(ctx, [repository], await host)
  return { ...finished, damaged, archiveInfo: infos.archiveInfo }
}

/** `--repo`, else the one with the lowest number. */
async function chooseRepository(ctx: CommandContext<'backup'>): Promise<Repository> {
  const repositories = await ctx.repositories()
  const [first] = repositories
  if (first === undefined) throw new PgtsError('assert', 'no repository is configured')
  if (repositories.length > 1) ctx.log.info(`repo option not specified, defaulting to ${repoId(first.key)}`)
  return first
}

function reportOf(
  ctx: CommandContext<'backup'>,
  repository: Repository,
  { manifest, entry, damaged }: Omit<TakenBackup, 'archiveInfo'>,
): BackupReport {
  const { label, type, files } = manifest
  ctx.log.info(
    { label, sizeBytes: entry.sizeDeltaBytes, repoSizeBytes: entry.repoSizeDeltaBytes },
    `${type} backup size = ${formatSize(entry.sizeDeltaBytes)}, file total = ${files.length}`,
  )
  return {
    label,
    type,
    repoKey: repository.key,
    fileCount: files.length,
    sizeBytes: entry.sizeDeltaBytes,
    repoSizeBytes: entry.repoSizeDeltaBytes,
    pageErrorFiles: damaged.map(({ name }) => name),
    durationMs: (manifest.timestampStop - manifest.timestampStart) * 1000,
  }
}
