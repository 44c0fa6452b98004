import { createHash } from 'node:crypto'
import fs from 'node:fs'
import { blockChecksums } from '../../codec/xxh3.ts'
import type { BlockMap } from '../../format/block-map.ts'
import { fileRepoName } from '../../format/repo-path.ts'
import { plannedReads } from '../../storage/planned-reads.ts'
import { bytesToText } from '../../util/byte-string.ts'
import { isPgtsError } from '../../util/error.ts'
import type { WriteBehind } from '../../util/write-behind.ts'
import { fetchBlocks } from '../block/fetch.ts'
import { planReads } from '../block/plan-reads.ts'
import { blockLength, loadBlockMap } from '../block/read.ts'
import { explain, mismatch } from './restore-error.ts'
import { openExisting, readRange, finishFile, finishUnchanged, writeFully } from './durable-file.ts'
import { translate } from './file-system.ts'
import type { RestoredFile, RestoreTask } from './restore-job.ts'

/** Writes all blocks of a file to an open, empty one. A mismatch throws `checksum` [026]. */
export async function copyBlocks(
  target: { readonly fd: number; readonly behind: WriteBehind },
  task: RestoreTask,
): Promise<void> {
  const { file, env } = task
  try {
    const checksum = await writeBlocks(target, await mapOf(task), () => true, task)
    const { size } = fs.fstatSync(target.fd)
    if (checksum !== file.checksum || size !== file.sizeBytes) {
      throw mismatch(file, env, `${size} bytes with SHA-1 ${checksum}`)
    }
  } catch (error) {
    throw explain(error, file, env)
  }
}

/**
 * Updates an existing file: only blocks that differ are fetched and written. If the process dies, the mtime of the file
 * is recent, so a later restore does not consider it finished.
 *
 * @returns undefined if the file must be created: it is missing, not a regular file, or has a second hard link
 */
export async function reviseBlocks(task: RestoreTask): Promise<RestoredFile | undefined> {
  const { file, job, env } = task
  const existing = openExisting(file.path)
  if (existing === undefined) return undefined
  const { fd, stat } = existing
  try {
    // A second hard link shares the content: it would be changed as well.
    if (stat.nlink > 1) return undefined
    const { blockSize, checksumSize } = file.stored!.blocks!
    const there = hashBlocks(fd, Math.min(stat.size, file.sizeBytes), blockSize, checksumSize, env.buffer)
    if (stat.size > file.sizeBytes) fs.ftruncateSync(fd, file.sizeBytes)
    if (stat.size >= file.sizeBytes && there.checksum === file.checksum) {
      if (stat.size > file.sizeBytes) finishFile(fd, file)
      else finishUnchanged(fd, file, stat, job.syncUnchanged)
      return { outcome: 'matches' }
    }
    const map = await mapOf(task)
    let revisedBytes = 0
    const differs = (block: number): boolean => {
      const start = block * checksumSize
      const expected = map.checksums.subarray(start, start + checksumSize)
      if (Buffer.compare(there.blocks.subarray(start, start + checksumSize), expected) === 0) return false
      revisedBytes += blockLength(map, block, file.sizeBytes)
      return true
    }
    const checksum = await writeBlocks({ fd }, map, differs, task)
    // The block checksums agreed, but the content differs: all blocks are fetched again.
    if (checksum !== file.checksum || fs.fstatSync(fd).size !== file.sizeBytes) return undefined
    finishFile(fd, file)
    return { outcome: 'restored', revisedBytes }
  } catch (error) {
    if (isPgtsError(error)) throw explain(error, file, env)
    throw translate(error, 'file-write', `unable to use the existing '${bytesToText(file.path)}'`)
  } finally {
    fs.closeSync(fd)
  }
}

/** SHA-1 of the beginning of a file, and the checksum of each of its blocks. */
function hashBlocks(
  fd: number,
  length: number,
  blockSize: number,
  checksumSize: number,
  buffer: Buffer,
): { readonly checksum: string; readonly blocks: Uint8Array } {
  const whole = buffer.length - (buffer.length % blockSize)
  const reading = whole > 0 ? buffer.subarray(0, whole) : Buffer.allocUnsafe(blockSize)
  const hash = createHash('sha1')
  const blocks = new Uint8Array(Math.ceil(length / blockSize) * checksumSize)
  let position = 0
  for (const piece of readRange(fd, 0, length, reading)) {
    hash.update(piece)
    blockChecksums(piece, blockSize, checksumSize, blocks, position)
    position += Math.ceil(piece.length / blockSize) * checksumSize
  }
  return { checksum: hash.digest('hex'), blocks }
}

function mapOf({ file, job, env, signal }: RestoreTask): Promise<BlockMap> {
  const { repoName, blocks } = file.stored!
  return loadBlockMap(
    env.storage,
    {
      repoName,
      ...blocks!,
      sizeBytes: file.sizeBytes,
      referenceCount: job.references.length,
      cipherPass: job.cipherPass,
    },
    signal,
  )
}

/** @returns SHA-1 of the whole file after the writes */
async function writeBlocks(
  { fd, behind }: { readonly fd: number; readonly behind?: WriteBehind },
  map: BlockMap,
  isNeeded: (block: number) => boolean,
  { file, job, env, signal }: RestoreTask,
): Promise<string> {
  const { stanza, references, compressType, cipherPass } = job
  // Blocks usually arrive in the order of the file; then it is hashed without reading it again.
  const hash = createHash('sha1')
  let inOrder = 0
  const ranges = planReads(map, isNeeded).map((range) => {
    const label = references[range.reference]!
    const stored = {
      name: file.name,
      reference: label,
      blockMapSize: file.stored!.blocks!.mapSizeBytes,
      bundleId: range.bundleId === 0 ? undefined : range.bundleId,
    }
    return { range, name: fileRepoName(stanza, stored, label, compressType) }
  })
  const wanted = ranges.map(({ name, range: { offset, length } }) => ({ name, offset, length }))
  await using reads = plannedReads(env.storage, wanted, signal)
  for (const { range, name } of ranges) {
    await fetchBlocks(reads.storage, range, {
      repoName: name,
      compressType,
      cipherPass,
      write(bytes, position) {
        writeFully(fd, bytes, position, file.path)
        behind?.wrote(bytes.length)
        if (position !== inOrder) return
        hash.update(bytes)
        inOrder += bytes.length
      },
      signal,
    })
  }
  for (const piece of readRange(fd, inOrder, file.sizeBytes, env.buffer)) {
    signal.throwIfAborted()
    hash.update(piece)
  }
  return hash.digest('hex')
}
