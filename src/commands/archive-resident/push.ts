import { realpathSync, statSync } from 'node:fs'
import type { PushReport } from '../../core/archive/push/push-wal.ts'
import { isReady } from '../../core/archive/push/ready-queue.ts'
import { leaveUnscanned } from '../../core/archive/resident/unscanned.ts'
import { baseName } from '../../core/archive/find.ts'
import { isWalSegment } from '../../format/wal-segment.ts'
import { bytes, bytesToText, parentOf, pathOf, textPath, textToBytes, type ByteString } from '../../util/byte-string.ts'
import { PgtsError } from '../../util/error.ts'
import { excessOf, pushFileOf } from '../archive-push/push-now.ts'
import type { CommandContext, LauncherContext } from '../context.ts'
import { refuseCopy } from '../shared/refuse-copy.ts'
import { offerResident } from './offer.ts'
import type { ResidentCluster } from './place.ts'
import { serveResident, strictLog } from './serve.ts'
import { ResidentTimes } from './times.ts'

/** After a synchronous push for PostgreSQL: let a resident process push the next segments. */
export async function offerPush(
  ctx: CommandContext<'archive-push'>,
  launcher: LauncherContext,
  path: ByteString,
  cluster: ResidentCluster,
  { repositories: archives }: PushReport,
): Promise<void> {
  const [walPath, file] = [path.slice(0, path.lastIndexOf('/')) as ByteString, baseName(path)]
  // An operator runs this command, or a program that copies WAL elsewhere.
  if (!isWalSegment(file) || !isReady(walPath, file) || !isSame(walPath, cluster.pgPath)) return
  await offerResident(ctx, launcher, cluster, ({ spool, directory }) =>
    leaveUnscanned(spool, directory, { segment: file, archives }),
  )
}

function isSame(walPath: ByteString, pgPath: string): boolean {
  return realpathSync.native(pathOf(walPath)) === realpathSync.native(textPath(`${pgPath}/pg_wal`))
}

/** `archive-push:async` without archive-async: pushes the segments that launchers ask for, each when it is asked for. */
export async function pushResident(ctx: CommandContext<'archive-push'>, launcher: LauncherContext): Promise<void> {
  const walPath = textToBytes(`${ctx.options.pg[0]?.path ?? ''}/pg_wal`)
  const times = new ResidentTimes(ctx, walPath)
  await serveResident(ctx, launcher, {
    async handle(file, { signal }) {
      const name = bytesToText(file)
      const path = bytes`${walPath}/${file}`
      await ctx.refuseWhenStopped()
      await refuseCopy(ctx, [parentOf(walPath)])
      if ((await excessOf(ctx, path)) !== undefined) throw new PgtsError('archive-timeout', 'the queue is too long')
      const before = stampOf(path)
      const { report } = await pushFileOf(ctx, path, { scan: true, log: strictLog(), signal })
      if (before !== stampOf(path)) throw new PgtsError('file-read', `${name} changed while it was being archived`)
      ctx.log.detail({ file }, `pushed WAL file '${name}' to the archive`)
      times.pushed(report)
      return 'done'
    },
    tick: (directory) => times.tick(directory),
  })
  await times.end()
}

function stampOf(path: ByteString): string {
  const { mtimeNs, ino, size } = statSync(pathOf(path), { bigint: true })
  return `${mtimeNs} ${ino} ${size}`
}
