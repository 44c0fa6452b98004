import { encryptor } from '../../codec/cipher.ts'
import { digest } from '../../codec/digest.ts'
import { pump } from '../../codec/pump.ts'
import { compressor } from '../../codec/registry.ts'
import type { Stage } from '../../codec/stage.ts'
import type { BlockMap } from '../../format/block-map.ts'
import type { ClusterFileSource } from '../../postgres/cluster-access.ts'
import { isPgtsError } from '../../util/error.ts'
import { loadBlockMap } from '../block/read.ts'
import type { BlockStage } from '../block/types.ts'
import { blockWriter } from '../block/block-writer.ts'
import { largeFileTurn, type JobEnv } from '../worker-env.ts'
import type { CopyFileJob, CopyFilesJob, StoredContent } from './copy-job.ts'
import { PageCheck } from './page-check.ts'
import type { RepoTarget } from './repo-target.ts'
import type { Mutable } from '../../util/mutable.ts'

/** One file of a job, and what its worker has for it. */
export interface CopyTask {
  readonly file: CopyFileJob
  readonly job: CopyFilesJob
  readonly env: JobEnv
  readonly signal: AbortSignal
}

/**
 * Stores a file in one pass: page checks, SHA-1, codec and cipher (or blocks), SHA-1 of the stored bytes. Does not
 * close the target.
 *
 * @param source is closed by this function
 * @returns `unchanged` if the prior backup has the content: the caller discards the target (nothing was added to a
 * bundle);
 * `undefined` if no block is new but the content differs from the prior backup
 */
export async function storeFile(
  source: ClusterFileSource,
  target: RepoTarget,
  { file, job, env, signal }: CopyTask,
): Promise<StoredContent | 'unchanged' | undefined> {
  const { priorContent } = file
  const { bundle } = job
  const offset = target.bytes
  const original = digest('sha1')
  const pageCheck =
    file.firstBlock === undefined
      ? undefined
      : new PageCheck(source, {
          pageSize: job.pages.size,
          firstBlock: file.firstBlock,
          headerCheck: job.pages.headerCheck,
        })
  const prior = await priorMap(file, env, signal)
  const blocks = blockStage(file, job, offset, prior.map)
  const filters = blocks === undefined ? wholeFileFilters(file, job) : [blocks]
  const stored = filters.length > 0 ? digest('sha1') : original
  using _turn = await largeFileTurn(file.sizeBytes, env)
  await pump(
    source,
    [...(pageCheck === undefined ? [] : [pageCheck]), original, ...filters, ...(filters.length > 0 ? [stored] : [])],
    target,
    signal,
  )

  const same =
    priorContent !== undefined && original.bytes === file.sizeBytes && original.hex() === priorContent.checksum
  const written = blocks?.result()
  if (written?.unchanged === true) return same ? 'unchanged' : undefined
  // A large file is compared while it is copied. In a bundle it stays, because other files may follow it.
  if (same && bundle === undefined) return 'unchanged'
  const content: Mutable<StoredContent> = {
    sizeBytes: original.bytes,
    checksum: original.hex(),
    repoSizeBytes: stored.bytes,
  }
  // Members without a value are left out: a message contains the name of each member.
  if (filters.length > 0) content.repoChecksum = stored.hex()
  if (bundle !== undefined) content.bundle = { id: bundle.id, offset }
  if (file.blocks !== undefined && written !== undefined) {
    const { blockSize, checksumSize } = file.blocks
    content.blocks = { blockSize, checksumSize, mapSizeBytes: written.mapSizeBytes }
  }
  if (pageCheck !== undefined) content.pages = pageCheck.result()
  if (prior.warning !== undefined) content.warning = prior.warning
  return content
}

function wholeFileFilters({ sizeBytes }: CopyFileJob, job: CopyFilesJob): Stage[] {
  const { compression, compressThreads: threads, cipherPass, bundle } = job
  const raw = bundle?.raw === true
  const { type, level } = compression
  return [
    ...(type === 'none' ? [] : [compressor(type, level, { raw, contentBytes: sizeBytes, threads })]),
    ...(cipherPass === undefined ? [] : [encryptor(cipherPass, { raw })]),
  ]
}

function blockStage(
  file: CopyFileJob,
  job: CopyFilesJob,
  offset: number,
  prior: BlockMap | undefined,
): BlockStage | undefined {
  if (file.blocks === undefined || job.superBlocks === undefined) return undefined
  return blockWriter({
    blockSize: file.blocks.blockSize,
    checksumSize: file.blocks.checksumSize,
    superBlockSize: job.superBlocks.sizeBytes,
    likelyBytes: file.sizeBytes,
    reference: job.superBlocks.reference,
    bundleId: job.bundle?.id ?? 0,
    offset,
    compression: job.compression,
    prior,
    cipherPass: job.cipherPass,
  })
}

/**
 * An unreadable map costs space, not the backup: all blocks are stored again, and the new map no longer needs the old
 * one.
 */
async function priorMap(
  file: CopyFileJob,
  env: JobEnv,
  signal: AbortSignal,
): Promise<{ map?: BlockMap; warning?: string }> {
  if (file.blocks?.prior === undefined) return {}
  try {
    return { map: await loadBlockMap(env.storage, file.blocks.prior, signal) }
  } catch (error) {
    const damage = ['format', 'crypto', 'file-read', 'file-missing'] as const
    if (!damage.some((code) => isPgtsError(error, code)) || !isPgtsError(error)) throw error
    return {
      warning: `${error.message}\nHINT: the file is stored again completely, but the prior backup is damaged: take a full backup`,
    }
  }
}
