import { createHash, randomBytes } from 'node:crypto'
import type { BlockBlobClient } from '@azure/storage-blob'
import type { ObjectUpload } from '../object/client.ts'

/** Blocks that one blob can have. */
export const MAX_BLOCKS = 50_000

/** Runs one request; its error is translated into a message `cannot VERB NAME`. */
export type Attempt = <T>(doing: string, signal: AbortSignal | undefined, request: () => Promise<T>) => Promise<T>

/**
 * A blob from blocks. Blocks that were not committed belong to no blob, are never listed, and the service forgets them
 * after a week, or when the blob is written; so there is nothing to abort.
 *
 * All ids of a blob must have the same length, those that somebody else left uncommitted under the name included: 18
 * bytes is what pgbackrest's ids have. The random half keeps two writers of one name apart: one blob is whole, then the other.
 */
export function blockUpload(
  blob: BlockBlobClient,
  attempt: Attempt,
  options: { readonly tags?: Record<string, string> },
): ObjectUpload {
  const nonce = randomBytes(14)
  const ids: string[] = []
  return {
    async part(number, bytes, signal) {
      const id = Buffer.alloc(18)
      nonce.copy(id)
      id.writeUInt32BE(number, 14)
      const blockId = id.toString('base64')
      await attempt('write', signal, () =>
        blob.stageBlock(blockId, bytes, bytes.length, {
          transactionalContentMD5: md5(bytes),
          abortSignal: signal,
        }),
      )
      ids[number - 1] = blockId
    },
    async complete(signal) {
      await attempt('write', signal, () => blob.commitBlockList(ids, { ...options, abortSignal: signal }))
    },
    abort: async () => undefined,
  }
}

export function md5(bytes: Uint8Array): Uint8Array {
  return createHash('md5').update(bytes).digest()
}
