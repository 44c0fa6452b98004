import { digest } from '../../codec/digest.ts'
import { pump } from '../../codec/pump.ts'
import { loadCodec } from '../../codec/registry.ts'
import type { ClusterFileSource } from '../../postgres/cluster-access.ts'
import { plannedReads, type WantedRange } from '../../storage/planned-reads.ts'
import { removeUnlessDenied } from '../../storage/whole-file.ts'
import { bytesToText } from '../../util/byte-string.ts'
import type { ByteSink, ByteSource } from '../../util/bytes.ts'
import { PgtsError } from '../../util/error.ts'
import type { JobEnv, WorkerEnv } from '../worker-env.ts'
import type { BlockShape } from './block-policy.ts'
import { bufferForBlocks, openForCopy, withFirst } from './cluster-source.ts'
import type { CopiedFile, CopyFileJob, CopyFilesJob } from './copy-job.ts'
import { CommitQueue, RepoTarget } from './repo-target.ts'
import { storeFile, type CopyTask } from './store-file.ts'

/**
 * Job handler: copies files into the repository, hashed before and after compression and encryption.
 *
 * @returns a result for each file of the job, in their order
 */
export async function backupFiles(job: CopyFilesJob, env: WorkerEnv, signal: AbortSignal): Promise<CopiedFile[]> {
  await loadCodec(job.compression.type)
  const { storage } = await env.repository(job.repoKey)
  await using reads = plannedReads(storage, priorMaps(job), signal)
  // Awaited here, because leaving this block ends the read-ahead.
  return await copyFiles(
    job,
    { files: env.files, buffer: env.buffer, turns: env.turns, storage: reads.storage },
    signal,
  )
}

/** The block maps that will be read, in the order of reading. */
function priorMaps({ files }: CopyFilesJob): WantedRange[] {
  return files.flatMap(({ blocks }) => {
    if (blocks?.prior === undefined) return []
    const { repoName, offset, repoSizeBytes, mapSizeBytes } = blocks.prior
    return [{ name: repoName, offset: offset + repoSizeBytes - mapSizeBytes, length: mapSizeBytes }]
  })
}

async function copyFiles(job: CopyFilesJob, env: JobEnv, signal: AbortSignal): Promise<CopiedFile[]> {
  const copied: CopiedFile[] = []
  if (job.bundle === undefined) {
    await using commits = new CommitQueue()
    for (const file of job.files) {
      signal.throwIfAborted()
      copied.push(await copyAlone({ file, job, env, signal }, commits))
    }
    await commits.drain()
    return copied
  }
  await using target = new RepoTarget(env.storage, job.bundle.repoName, signal)
  for (const file of job.files) {
    signal.throwIfAborted()
    copied.push(await copyFile({ file, job, env, signal }, target))
  }
  // If all files of a bundle are unchanged, the bundle was not created.
  if (target.bytes > 0) await target.commit()
  return copied
}

/** Copies a file that is not bundled. A copy that an interrupted backup left is used if its checksums match. */
async function copyAlone(task: CopyTask, commits: CommitQueue): Promise<CopiedFile> {
  const { file, env, signal } = task
  const left = file.resumed === undefined ? undefined : await proveResumed(file, file.resumed, env, signal)
  if (left === 'valid') return { outcome: 'resumed' }
  const target = commits.own(new RepoTarget(env.storage, ownName(file), signal))
  const result = await copyFile(task, target)
  if (result.outcome !== 'copied') {
    await target[Symbol.asyncDispose]()
    // The manifest does not name it; if it cannot be removed, it only takes space.
    if (left !== undefined) await removeUnlessDenied(env.storage.remove(ownName(file), { signal }), () => undefined)
    return result
  }
  commits.commit(target)
  return left === 'damaged' ? { ...result, warning: `${result.warning ?? ''}${damagedMessage(file)}` } : result
}

function ownName({ name, repoName }: CopyFileJob): string {
  if (repoName === undefined) throw new PgtsError('assert', `${bytesToText(name)} has no file of its own`)
  return repoName
}

async function copyFile(given: CopyTask, target: RepoTarget): Promise<CopiedFile> {
  const task = given.file.blocks === undefined ? given : { ...given, env: envForBlocks(given, given.file.blocks) }
  const { file, job, env, signal } = task
  const { priorContent } = file
  if (priorContent?.first === true) {
    const source = await openForCopy(file, env)
    if (source === undefined) return vanished(file)
    if (await hasContent(source, file.sizeBytes, priorContent.checksum, signal)) return { outcome: 'unchanged' }
  }

  const source = await openForCopy(file, env)
  if (source === undefined) return vanished(file)
  const { begin, outcome } = await look(source, file, job, env.buffer.length)
  if (outcome !== undefined) return { outcome }
  const stored = await storeFile(begin, target, task)
  if (stored === 'unchanged') return { outcome: 'unchanged' }
  if (stored !== undefined) return { outcome: 'copied', ...stored }

  // The block checksums equal those of the prior backup, but the content differs: the file is stored again with all
  // blocks.
  const again = await openForCopy(file, env)
  if (again === undefined) return vanished(file)
  const { blocks, priorContent: _, ...whole } = file
  const { prior: _prior, ...shape } = blocks!
  const content = await storeFile(again, target, { ...task, file: { ...whole, blocks: shape } })
  if (typeof content !== 'object') throw new PgtsError('assert', `${bytesToText(file.name)} was not stored`)
  return { outcome: 'copied', ...content }
}

function envForBlocks({ env, job }: CopyTask, { blockSize }: BlockShape): JobEnv {
  const superBlockSize = job.superBlocks?.sizeBytes ?? blockSize
  return { ...env, buffer: bufferForBlocks(env.buffer, job.pages.size, { blockSize, superBlockSize }) }
}

/**
 * Checks before anything is written whether a file need not be stored, because data cannot be removed from a bundle:
 * the file is empty now, or it is small and equal to the prior backup.
 */
async function look(
  source: ClusterFileSource,
  file: CopyFileJob,
  job: CopyFilesJob,
  bufferBytes: number,
): Promise<{ begin: ClusterFileSource; outcome?: 'emptied' | 'unchanged' }> {
  const { priorContent } = file
  const storesNoEmpty = job.bundle !== undefined || file.blocks !== undefined
  if (priorContent === undefined && !storesNoEmpty) return { begin: source }
  const first = await source.next()
  const begin = withFirst(first, source)
  let outcome: 'emptied' | 'unchanged' | undefined
  if (first === undefined && storesNoEmpty) outcome = 'emptied'
  else if (priorContent !== undefined && first?.length === file.sizeBytes) {
    // A source returns full buffers until its end, so a short chunk is the whole file; a full one may have more after
    // it.
    const isComplete = file.sizeLimited || first.length < bufferBytes
    if (isComplete && sha1Of(first) === priorContent.checksum) outcome = 'unchanged'
  }
  if (outcome === undefined) return { begin }
  await source[Symbol.asyncDispose]()
  return { begin, outcome }
}

/** `valid`: the stored file matches its checksum and the cluster's file. `stale`: the cluster's file has changed. */
async function proveResumed(
  file: CopyFileJob,
  resumed: NonNullable<CopyFileJob['resumed']>,
  env: JobEnv,
  signal: AbortSignal,
): Promise<'valid' | 'stale' | 'damaged'> {
  const source = await openForCopy(file, env)
  if (source === undefined || !(await hasContent(source, file.sizeBytes, resumed.checksum, signal))) return 'stale'
  const stored = await env.storage.read(ownName(file), { signal })
  return (await hasContent(stored, resumed.repoSizeBytes, resumed.repoChecksum, signal)) ? 'valid' : 'damaged'
}

function damagedMessage(file: CopyFileJob): string {
  return (
    `the copy of ${bytesToText(file.name)} that the interrupted backup left is corrupt, so the file was copied again` +
    '\nHINT: this is normal after a crash; if there was no crash, check the storage of the repository'
  )
}

/** @param source is closed by this function */
async function hasContent(
  source: ByteSource,
  sizeBytes: number,
  checksum: string,
  signal: AbortSignal,
): Promise<boolean> {
  const content = digest('sha1')
  await pump(source, [content], nowhere, signal)
  return content.bytes === sizeBytes && content.hex() === checksum
}

function vanished(file: CopyFileJob): CopiedFile {
  if (file.control) throw new PgtsError('file-missing', `${file.pgName} vanished while the backup was running`)
  return { outcome: 'vanished' }
}

function sha1Of(bytes: Uint8Array): string {
  const content = digest('sha1')
  content.push(bytes)
  return content.hex()
}

const nowhere: ByteSink = { write: () => undefined }
