import { realpathSync } from 'node:fs'
import { getWal } from '../../core/archive/get/get-wal.ts'
import { baseName } from '../../core/archive/find.ts'
import { isTimelineHistoryFile, isWalSegment } from '../../format/wal-segment.ts'
import { bytes, bytesToText, pathOf, textPath, textToBytes, type ByteString } from '../../util/byte-string.ts'
import { identifyCluster } from '../archive-get/identify-cluster.ts'
import type { CommandContext, LauncherContext } from '../context.ts'
import { offerResident } from './offer.ts'
import type { ResidentCluster } from './place.ts'
import { serveResident, strictLog } from './serve.ts'

/** After a synchronous get for PostgreSQL: let a resident process answer the next calls. */
export async function offerGet(
  ctx: CommandContext<'archive-get'>,
  launcher: LauncherContext,
  { file, destination }: { readonly file: ByteString; readonly destination: ByteString },
  cluster: ResidentCluster,
): Promise<void> {
  if (targetName(file) !== baseName(destination)) return
  const directory = destination.slice(0, destination.lastIndexOf('/')) as ByteString
  if (realpathSync.native(pathOf(directory)) !== realpathSync.native(textPath(`${cluster.pgPath}/pg_wal`))) return
  await offerResident(ctx, launcher, cluster)
}

/** The name that PostgreSQL gives a restored file in pg_wal. */
function targetName(file: ByteString): string | undefined {
  if (isWalSegment(file)) return 'RECOVERYXLOG'
  return isTimelineHistoryFile(file) ? 'RECOVERYHISTORY' : undefined
}

/** `archive-get:async` without archive-async: searches and fetches the files that launchers ask for. */
export async function getResident(ctx: CommandContext<'archive-get'>, launcher: LauncherContext): Promise<void> {
  const pgPath = ctx.options.pg[0]?.path ?? ''
  await serveResident(ctx, launcher, {
    async handle(file, { signal, isWaiting }) {
      const report = await getWal({
        stanza: ctx.stanza,
        file,
        destination: bytes`${textToBytes(pgPath)}/pg_wal/${targetName(file) ?? ''}`,
        identity: await identifyCluster(ctx, pgPath, signal),
        repositories: await ctx.repositories(),
        writing: { isWanted: isWaiting },
        log: strictLog(),
        signal,
      })
      ctx.log.detail({ file }, `${report.found ? 'found' : 'unable to find'} ${bytesToText(file)} in the archive`)
      return report.found ? 'done' : 'missing'
    },
  })
}
