import { createHash } from 'node:crypto'
import fs from 'node:fs'
import { decryptor } from '../../codec/cipher.ts'
import { digest } from '../../codec/digest.ts'
import { pump } from '../../codec/pump.ts'
import { decompressor, loadCodec } from '../../codec/registry.ts'
import type { ByteRange } from '../../storage/driver.ts'
import { plannedReads, type WantedRange } from '../../storage/planned-reads.ts'
import { PgtsError } from '../../util/error.ts'
import { WriteBehind } from '../../util/write-behind.ts'
import type { Stage } from '../../codec/stage.ts'
import { largeFileTurn, type JobEnv, type WorkerEnv } from '../worker-env.ts'
import { explain, mismatch } from './restore-error.ts'
import { createNew, makeHole, readRange, FinishQueue, keepExisting, writeFully } from './durable-file.ts'
import { copyBlocks, reviseBlocks } from './restore-blocks.ts'
import type { RestoredFile, RestoreFile, RestoreFileJob, RestoreTask } from './restore-job.ts'

/**
 * Job handler: restores files. Every byte is verified; a mismatch throws `checksum` [026]. A file is durable, with its
 * time, mode and owner, when its result is returned; the caller syncs its directory.
 *
 * @returns a result for each file of the job, in their order
 */
export async function restoreBatch(job: RestoreFileJob, env: WorkerEnv, signal: AbortSignal): Promise<RestoredFile[]> {
  await loadCodec(job.compressType)
  const results: RestoredFile[] = []
  await using finishing = new FinishQueue()
  const { files, buffer, turns } = env
  const { storage } = await env.repository(job.repoKey)
  const existing = checkExisting(job, buffer, signal)
  await using reads = plannedReads(storage, wantedRanges(job, existing), signal)
  const jobEnv = { files, buffer, turns, storage: reads.storage }
  for (const file of job.files) {
    signal.throwIfAborted()
    results.push(
      existing.get(file) === true ? matches : await restoreFile({ file, job, env: jobEnv, signal }, finishing),
    )
  }
  await finishing.drain()
  return results
}

const matches = { outcome: 'matches' } as const

/**
 * Finds existing files with the correct content, verified by checksum, and finishes them. All files of a job are
 * checked before anything is read, so that the reads can be planned. Block incremental files are checked block by block
 * later.
 */
function checkExisting(
  { files, syncUnchanged }: RestoreFileJob,
  buffer: Buffer,
  signal: AbortSignal,
): Map<RestoreFile, boolean> {
  const existing = new Map<RestoreFile, boolean>()
  for (const file of files) {
    signal.throwIfAborted()
    if (file.action !== 'check' || file.stored?.blocks !== undefined) continue
    const isRight = (fd: number) => sha1OfStart(fd, file.sizeBytes, buffer) === file.checksum
    existing.set(file, keepExisting(file, syncUnchanged, isRight))
  }
  return existing
}

/** The ranges that are certainly read, in the order of reading. */
function wantedRanges({ files }: RestoreFileJob, existing: ReadonlyMap<RestoreFile, boolean>): WantedRange[] {
  const wanted: WantedRange[] = []
  for (const file of files) {
    const { action, stored } = file
    const isRead = action === 'create' || action === 'rewrite' || existing.get(file) === false
    if (!isRead || stored?.repoSizeBytes === undefined) continue
    const offset = stored.slice?.offset ?? 0
    wanted.push({ name: stored.repoName, offset, length: stored.repoSizeBytes })
  }
  return wanted
}

async function restoreFile(task: RestoreTask, finishing: FinishQueue): Promise<RestoredFile> {
  const { file, job } = task
  const inBlocks = file.stored?.blocks !== undefined
  // A file that cannot be kept (unreadable, or replaced since the plan was made) is copied.
  if (file.action === 'keep' && keepExisting(file, job.syncUnchanged, () => true)) return { outcome: 'kept' }
  using _turn = await largeFileTurn(file.sizeBytes, task.env)
  if (file.action === 'check' && inBlocks) {
    const revised = await reviseBlocks(task)
    if (revised !== undefined) return revised
  }
  const fd = createNew(file.path)
  const behind = new WriteBehind(fd)
  try {
    // A hole of the full length: it takes no space, and all its pages read as new pages.
    if (file.action === 'zero') makeHole(fd, file)
    else if (inBlocks) await copyBlocks({ fd, behind }, task)
    else if (file.sizeBytes > 0) await copyContent({ fd, behind }, task)
  } catch (error) {
    await behind.abandon()
    fs.closeSync(fd)
    throw error
  }
  finishing.add(fd, behind, file)
  if (file.sizeBytes === 0) return { outcome: 'empty' }
  return { outcome: file.action === 'zero' ? 'zeroed' : 'restored' }
}

/** Decodes the stored bytes into an open, empty file. */
async function copyContent(
  { fd, behind }: { readonly fd: number; readonly behind: WriteBehind },
  { file, job, env, signal }: RestoreTask,
): Promise<void> {
  const { stored } = file
  if (stored === undefined) throw new PgtsError('assert', `no repository file for ${file.name}`)
  const raw = stored.slice !== undefined && job.bundleRaw
  const content = digest('sha1')
  const stages: Stage[] = job.cipherPass === undefined ? [] : [decryptor(job.cipherPass, { raw })]
  if (job.compressType !== 'none') stages.push(decompressor(job.compressType, { raw }))
  stages.push(content)
  try {
    const source = await env.storage.read(stored.repoName, { ...rangeOf(stored, env), signal })
    const sink = {
      write(chunk: Uint8Array): void {
        // Corrupt bytes may decode to any length: stop, so that they do not fill the disk.
        if (content.bytes > file.sizeBytes) throw mismatch(file, env, `more than ${file.sizeBytes} bytes`)
        writeFully(fd, chunk, null, file.path)
        behind.wrote(chunk.length)
      },
    }
    await pump(source, stages, sink, signal)
  } catch (error) {
    throw explain(error, file, env)
  }
  // Checks both: the next backup would inherit a wrong size of the manifest.
  if (content.hex() === file.checksum && content.bytes === file.sizeBytes) return
  throw mismatch(file, env, `${content.bytes} bytes with SHA-1 ${content.hex()}`)
}

/** A local file is read to its end; on remote storage a known length allows parallel requests. */
function rangeOf({ slice, repoSizeBytes }: NonNullable<RestoreFile['stored']>, env: JobEnv): ByteRange {
  if (slice !== undefined) return slice
  if (env.storage.parallel === undefined || repoSizeBytes === undefined) return {}
  return { offset: 0, length: repoSizeBytes }
}

function sha1OfStart(fd: number, length: number, buffer: Buffer): string {
  const hash = createHash('sha1')
  for (const piece of readRange(fd, 0, length, buffer)) hash.update(piece)
  return hash.digest('hex')
}
