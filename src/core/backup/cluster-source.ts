import type { ClusterFileSource } from '../../postgres/cluster-access.ts'
import { readControlFile, zeroTailed } from '../../postgres/control-file.ts'
import { sourceOf } from '../../util/bytes.ts'
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
