import { pushWal, type PushReport, type PushRequest } from '../../core/archive/push/push-wal.ts'
import { readControlFile, type ControlFile } from '../../postgres/control-file.ts'
import { openClusterFiles } from '../../postgres/registry.ts'
import { textToBytes, type ByteString } from '../../util/byte-string.ts'
import { loadModule } from '../../util/load-module.ts'
import type { CommandContext } from '../context.ts'

/** Push one file synchronously. Its cluster is identified by pg1-path, without that by the repositories only. */
export async function pushFileOf(
  ctx: CommandContext<'archive-push'>,
  path: ByteString,
  { log, signal, scan }: Pick<CommandContext, 'log' | 'signal'> & Pick<PushRequest, 'scan'>,
): Promise<{ readonly report: PushReport; readonly identity: ControlFile | undefined }> {
  const { options, stanza } = ctx
  const pgPath = options.pg[0]?.path
  const files = await openClusterFiles({ kind: 'local', versionForce: ctx.options.pgVersionForce })
  const identity = pgPath === undefined ? undefined : await readControlFile(files, textToBytes(pgPath), { signal })
  const report = await pushWal({
    stanza,
    path,
    files,
    identity,
    repositories: await ctx.repositories(),
    compression: { type: options.compressType, level: options.compressLevel },
    headerCheck: options.archiveHeaderCheck,
    warnWhenArchived: options.archiveModeCheck,
    scan,
    log,
    signal,
  })
  return { report, identity }
}

/** Length of the queue if it exceeds archive-push-queue-max, bytes. */
export async function excessOf(
  { options }: CommandContext<'archive-push'>,
  path: ByteString,
): Promise<number | undefined> {
  const limitBytes = options.archivePushQueueMax
  if (limitBytes === undefined) return undefined
  const { readReadyQueue } = await loadModule(() => import('../../core/archive/push/ready-queue.ts'))
  const queueBytes = readReadyQueue(path.slice(0, path.lastIndexOf('/'))).waitingBytes
  return queueBytes > limitBytes ? queueBytes : undefined
}
