import { createHash, hash as hashOnce, type Hash } from 'node:crypto'
import type { StorageDriver } from '../../storage/driver.ts'
import type { ByteSource } from '../../util/bytes.ts'
import type { StoredRun } from './piece-table.ts'

/**
 * SHA-1 of each piece of a run, hex, in one read.
 *
 * @throws PgtsError file-missing, file-read if the file ends before the run does, or an error of the store
 */
export async function hashRun(
  { repoName, offset, lengths }: StoredRun,
  storage: StorageDriver,
  signal: AbortSignal,
): Promise<string[]> {
  const source = await storage.read(repoName, { offset, length: runLength(lengths), signal })
  try {
    return await hashPieces(source, lengths)
  } finally {
    await source[Symbol.asyncDispose]()
  }
}

export function runLength(lengths: readonly number[]): number {
  return lengths.reduce((sum, length) => sum + length, 0)
}

async function hashPieces(source: ByteSource, lengths: readonly number[]): Promise<string[]> {
  const digests: string[] = []
  // Of a piece that does not end in the chunk in which it begins.
  let open: Hash | undefined
  let missing = lengths[0] ?? 0
  for (;;) {
    const answer = source.next()
    const chunk = answer instanceof Promise ? await answer : answer
    if (chunk === undefined) return digests
    for (let at = 0; at < chunk.length;) {
      const part = chunk.subarray(at, at + missing)
      at += part.length
      missing -= part.length
      if (missing > 0) {
        ;(open ??= createHash('sha1')).update(part)
        continue
      }
      digests.push(open === undefined ? hashOnce('sha1', part) : open.update(part).digest('hex'))
      open = undefined
      missing = lengths[digests.length] ?? chunk.length
    }
  }
}
