import type { ClusterFileSource } from '../../postgres/cluster-access.ts'
import { readControlFile, zeroTailed } from '../../postgres/control-file.ts'
import { sourceOf } from '../../util/bytes.ts'
import { wholeSuperBlock } from '../block/types.ts'
import type { JobEnv } from '../worker-env.ts'

/**
 * Opens a file of the cluster for a backup; undefined if the file vanished.
 *
 * @param file `control`: read until its CRC is valid, padded with zeros; `sizeLimited`: read up to `sizeBytes` only
 */
export async function openForCopy(
  file: {
    readonly pgName: string
    readonly control: boolean
    readonly sizeLimited: boolean
    readonly sizeBytes: number
  },
  env: JobEnv,
): Promise<ClusterFileSource | undefined> {
  if (file.control) {
    const pgPath = file.pgName.slice(0, -'/global/pg_control'.length)
    const control = await readControlFile(env.files, pgPath)
    return { ...sourceOf(zeroTailed(control.bytes)), reread: () => Promise.resolve(Buffer.alloc(0)) }
  }
  return await env.files.open(file.pgName, {
    buffer: env.buffer,
    maxBytes: file.sizeLimited ? file.sizeBytes : undefined,
  })
}

/** A source whose first chunk has been read already; that chunk is still valid, because nothing was read after it. */
export function withFirst(first: Uint8Array | undefined, source: ClusterFileSource): ClusterFileSource {
  if (first === undefined) return source
  let pending: Uint8Array | undefined = first
  return {
    next() {
      if (pending === undefined) return source.next()
      const chunk = pending
      pending = undefined
      return chunk
    },
    reread: (offset, length) => source.reread(offset, length),
    [Symbol.asyncDispose]: () => source[Symbol.asyncDispose](),
  }
}

/**
 * The part of a read buffer to use for a file that is stored in blocks: each chunk then consists of whole blocks and pages, and of whole
 * super blocks if one fits, so that the kernels and the codec work on it without a copy.
 */
export function bufferForBlocks(
  buffer: Buffer,
  pageSize: number,
  blocks: { readonly blockSize: number; readonly superBlockSize: number },
): Buffer {
  const superBlock = wholeSuperBlock(blocks)
  for (const part of [superBlock, blocks.blockSize]) {
    let unit = part
    while (unit % pageSize !== 0) unit += part
    if (unit <= buffer.length) return buffer.subarray(0, buffer.length - (buffer.length % unit))
  }
  return buffer
}
