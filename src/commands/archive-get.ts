import type { SpooledGetReport, SpooledGetRequest } from '../core/archive/get/through-spool.ts'
import { restoreCommandLine } from '../core/archive/status/archive-program.ts'
import { getWal, type GetRequest } from '../core/archive/get/get-wal.ts'
import { isWalSegment } from '../format/wal-segment.ts'
import type { ControlFile } from '../postgres/control-file.ts'
import { bytesToText, textToBytes } from '../util/byte-string.ts'
import { messageOf, PgtsError } from '../util/error.ts'
import { loadModule } from '../util/load-module.ts'
import { identifyCluster } from './archive-get/identify-cluster.ts'
import type { CommandContext, LauncherContext } from './context.ts'
import { resolveWalPath } from './shared/wal-path.ts'
import { repoId } from '../util/repo-id.ts'

/**
 * Fetch one WAL file, for `restore_command = 'pgts --stanza=main archive-get %f "%p"'`. `found: false` makes
 * the exit code 1: PostgreSQL takes it for the end of the archive. The caller passes errors to `stopsRecovery`.
 */
export async function archiveGet(
  ctx: CommandContext<'archive-get'>,
  launcher: LauncherContext,
): Promise<SpooledGetReport> {
  const { options, log, signal } = ctx
  const [file, target, ...more] = ctx.parameters
  if (file === undefined || target === undefined || more.length > 0) {
    throw new PgtsError('param-required', 'archive-get needs the name of a WAL file and the path to write it to', {
      hints: [restoreCommandLine(ctx)],
    })
  }
  const pgPath = options.pg[0]?.path
  if (pgPath === undefined) {
    throw new PgtsError('option-required', 'archive-get needs pg1-path to know which cluster the WAL is for')
  }
  const destination = await resolveWalPath('archive-get', target, pgPath, ctx.cwd)
  const control = await identifyCluster(ctx, pgPath, ctx.signal)
  const request = {
    stanza: ctx.stanza,
    file: textToBytes(file),
    destination,
    identity: control,
    repositories: await ctx.repositories(),
    log,
    signal,
  }
  const spool = options.archiveAsync && isWalSegment(file) ? await claimedSpool(ctx, pgPath, control) : undefined
  const report =
    spool === undefined ? await getWal(request) : await getSpooled(ctx, launcher, { ...request, ...spool }, pgPath)
  if (report.found && 'prefetched' in report) {
    log.info({ file }, `found ${file} in the spool`)
  } else if (report.found) {
    log.info(
      { file, repo: report.repoKey },
      `found ${file} in the ${repoId(report.repoKey)}: ${report.archiveId} archive`,
    )
    log.detail({ file }, `${bytesToText(report.repoName)} was written to ${bytesToText(destination)}`)
  } else {
    log.info({ file }, `unable to find ${file} in the archive`)
  }
  // A process that answers calls would have to write what this one has logged.
  if (options.archiveResident && !options.archiveAsync && !log.enabled('info')) {
    const { offerGet } = await loadModule(() => import('./archive-resident/get.ts'))
    await offerGet(ctx, launcher, { file: request.file, destination }, { systemId: control.systemId, pgPath })
  }
  return report
}

type SpoolOfGet = Pick<SpooledGetRequest, 'segmentSize' | 'spool' | 'ownerDirectory'>

/** The spool; undefined if it cannot be used. Then WAL is fetched directly: a faulty spool must not stop recovery. */
async function claimedSpool(
  { options, log, stanza }: CommandContext<'archive-get'>,
  pgPath: string,
  control: ControlFile,
): Promise<SpoolOfGet | undefined> {
  // Loaded here, because a synchronous call does not need it.
  const { prepareSpool, spoolPaths } = await loadModule(() => import('../core/archive/spool/spool-files.ts'))
  const { claimSpool, ownerDirectoryOf, spoolOwner } = await loadModule(
    () => import('../core/archive/spool/spool-owner.ts'),
  )
  const spool = spoolPaths(options.spoolPath ?? '', stanza)
  try {
    prepareSpool(spool)
    const owner = spoolOwner(control.systemId, pgPath)
    if ((await claimSpool(spool, owner)) !== 'busy')
      return { segmentSize: control.walSegmentSize, spool, ownerDirectory: ownerDirectoryOf(spool, owner) }
    log.info(`${options.spoolPath} is used by another cluster with this stanza, so WAL is not fetched ahead`)
  } catch (error) {
    log.warn(`WAL is not fetched ahead: ${messageOf(error)}`)
  }
  return undefined
}

async function getSpooled(
  ctx: CommandContext<'archive-get'>,
  launcher: LauncherContext,
  request: GetRequest & SpoolOfGet,
  pgPath: string,
): Promise<SpooledGetReport> {
  const { getThroughSpool } = await loadModule(() => import('../core/archive/get/through-spool.ts'))
  const launch = async () => void (await launcher.startBackground([]))
  const report = await getThroughSpool({ ...request, clock: ctx.clock, launch })
  if (report.found) {
    const { leaveHint } = await loadModule(() => import('./shared/leave-hint.ts'))
    await leaveHint(ctx, launcher, pgPath, request.ownerDirectory)
  }
  return report
}
