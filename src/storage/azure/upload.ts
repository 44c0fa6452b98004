import { createHash, randomBytes } from 'node:crypto'
import type { BlockBlobClient } from '@azure/storage-blob'
import type { ObjectUpload } from '../object/client.ts'

/** Blocks that one blob can have. */
export const MAX_BLOCKS = 50_000

/** Runs one request; its error is translated into a message `cannot VERB NAME`. */
export type Attempt = <T>(doing: string, signal: AbortSignal | undefined, request: () => Promise<T>) => Promise<T>

/**
 * Uploads a blob in blocks. Uncommitted blocks belong to no blob and are never listed. The service removes them after a
 * week, or when the blob is written, so there is nothing to abort.
 *
 * All block ids of a blob must have the same length, including those that another client left uncommitted under the
 * name: 18 bytes, as in pgbackrest. The random half separates two concurrent writers of one name: the blob is always
 * the complete one of one writer.
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
