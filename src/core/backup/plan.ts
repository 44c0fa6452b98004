import type { Compression } from '../../util/compress-type.ts'
import { bundleName, fileRepoName } from '../../format/repo-path.ts'
import { clusterPath, type ListedFile } from '../../postgres/data-directory.ts'
import type { ByteString } from '../../util/byte-string.ts'
import type { LazyList } from '../../util/lazy-list.ts'
import { blockShapeOf, type BlockPolicy } from './block-policy.ts'
import type { CopyFilesJob, CopyFileJob } from './copy-job.ts'
import type { PlannedFile } from './increment.ts'
import { SpareThreads } from './spare-threads.ts'
import type { Mutable } from '../../util/mutable.ts'

/** How files are copied, from options and settings of the server. Sizes in bytes. */
export interface CopyPolicy {
  readonly compression: Compression
  /** Passphrase of the files of the backup set, in an encrypted repository. */
  readonly cipherPass: string | undefined
  /** Undefined: page checksums are not verified. */
  readonly pages: { readonly size: number; readonly segmentBlocks: number; readonly headerCheck: boolean } | undefined
  /** Undefined: no file is bundled. */
  readonly bundle?: {
    /** Size of a bundle before compression. */
    readonly sizeBytes: number
    /** Larger files are not bundled. */
    readonly limitBytes: number
  }
  /** Undefined: no file is stored block incremental. */
  readonly blocks?: BlockPolicy
  /**
   * Bundled files are stored in the raw form of codec and cipher: fixed for a whole set, even if bundling is off now.
   */
  readonly bundleRaw: boolean
}

/** The properties of the new backup that its jobs need. */
export interface BackupInPlan {
  readonly repoKey: number
  readonly stanza: string
  readonly label: string
  /** Data directory. */
  readonly pgPath: ByteString
  /** Labels of the chain; the new backup is last. */
  readonly references: readonly string[]
  /** Seconds since the epoch. */
  readonly timestampStart: number
}

/** The files that one executor copies, if a backup has several. */
export interface CopyPart {
  readonly includes: (file: ListedFile) => boolean
  /** The last number of a bundle, counted over all parts. */
  readonly bundles: { last: number }
  /** Of the workers that copy them. */
  readonly threads: SpareThreads
}

/**
 * Small files share a job up to this number of bytes or files, because a message between threads costs as much as a
 * small file.
 */
const BATCH_BYTES = 1024 * 1024
const BATCH_FILES = 32

/**
 * Creates the jobs of a backup on demand: the largest files first, so that no large file is left for the end; then the
 * small files, bundled or in batches.
 */
export function* planCopyJobs(
  planned: LazyList<PlannedFile>,
  backup: BackupInPlan,
  policy: CopyPolicy,
  { includes, bundles, threads }: CopyPart,
): Generator<CopyFilesJob> {
  const { bundle } = policy
  const { alone, small, sizes, times } = filesToRead(planned, includes, bundle?.limitBytes)
  const jobFor = (indexes: readonly number[], isBundle: boolean): CopyFilesJob => ({
    repoKey: backup.repoKey,
    files: indexes.map((index) => copyJob(planned.at(index)!, backup, policy, isBundle)),
    compression: policy.compression,
    pages: { size: policy.pages?.size ?? 8192, headerCheck: policy.pages?.headerCheck ?? true },
    cipherPass: policy.cipherPass,
    superBlocks:
      policy.blocks === undefined
        ? undefined
        : { sizeBytes: policy.blocks.superBytes, reference: backup.references.length - 1 },
  })

  // The order of the indexes is that of the names.
  alone.sort((a, b) => sizes[b]! - sizes[a]! || a - b)
  for (const files of batches(alone, sizes, BATCH_BYTES, BATCH_FILES)) {
    const job = jobFor(files, false)
    const compressThreads = threads.take(files.reduce((sum, index) => sum + sizes[index]!, 0))
    yield compressThreads === 1 || job.files[0]!.blocks !== undefined ? job : { ...job, compressThreads }
  }

  if (bundle === undefined) return
  // Files of one target share bundles, so that restoring a tablespace reads few bundles. Within a target, files are
  // ordered by age: later backups of the set refer to long unchanged files together.
  for (const files of small.values()) {
    files.sort((a, b) => times[a]! - times[b]! || a - b)
    for (const members of batches(files, sizes, bundle.sizeBytes, Infinity)) {
      const id = ++bundles.last
      yield {
        ...jobFor(members, true),
        bundle: { id, repoName: bundleName(backup.stanza, backup.label, id), raw: policy.bundleRaw },
      }
    }
  }
}

/** Indexes of the files to read, and columns by which they are ordered. */
interface FilesToRead {
  readonly alone: number[]
  /** Files of bundles, by their target. */
  readonly small: ReadonlyMap<string, number[]>
  readonly sizes: Float64Array
  readonly times: Float64Array
}

/** @param bundleLimit larger files are not bundled; absent: no file is */
function filesToRead(
  planned: LazyList<PlannedFile>,
  includes: CopyPart['includes'],
  bundleLimit: number | undefined,
): FilesToRead {
  const [alone, small] = [[] as number[], new Map<string, number[]>()]
  const [sizes, times] = [new Float64Array(planned.length), new Float64Array(planned.length)]
  for (let index = 0; index < planned.length; index++) {
    const { file, action, resumed } = planned.at(index)!
    if ((action !== 'copy' && action !== 'compare') || !includes(file)) continue
    sizes[index] = file.sizeBytes
    times[index] = file.timestamp
    // A file that an interrupted backup stored unbundled stays unbundled.
    if (bundleLimit === undefined || file.sizeBytes > bundleLimit || resumed !== undefined) {
      alone.push(index)
      continue
    }
    const target = /^pg_tblspc\/[0-9]+/.exec(file.name)?.[0] ?? 'pg_data'
    const members = small.get(target)
    if (members === undefined) small.set(target, [index])
    else members.push(index)
  }
  return { alone, small, sizes, times }
}

/** Groups files; the file that reaches a limit is the last of its group. */
function* batches(
  files: readonly number[],
  sizes: Float64Array,
  bytes: number,
  count: number,
): Generator<readonly number[]> {
  let start = 0
  let batchBytes = 0
  for (let at = 0; at < files.length; at++) {
    batchBytes += sizes[files[at]!]!
    if (batchBytes < bytes && at + 1 - start < count) continue
    yield files.slice(start, at + 1)
    start = at + 1
    batchBytes = 0
  }
  if (start < files.length) yield files.slice(start)
}

function copyJob(planned: PlannedFile, backup: BackupInPlan, policy: CopyPolicy, isBundled: boolean): CopyFileJob {
  const { index, file, action, priorEntry, resumed } = planned
  const blocks = blocksOf(planned, backup, policy)
  const job: Mutable<CopyFileJob> = {
    index,
    name: file.name,
    pgName: clusterPath(backup.pgPath, file.name),
    sizeBytes: file.sizeBytes,
    sizeLimited: file.sizeLimited,
    control: file.name === 'pg_data/global/pg_control',
  }
  // Members without a value are left out: a message contains the name of each member.
  if (!isBundled) job.repoName = ownRepoName(planned, backup, policy)
  if (policy.pages !== undefined && file.pageChecksumApplies)
    job.firstBlock = segmentNumber(file.name) * policy.pages.segmentBlocks
  if (blocks !== undefined) job.blocks = blocks
  if (priorEntry?.checksum !== undefined)
    job.priorContent = { checksum: priorEntry.checksum, first: action === 'compare' }
  if (resumed?.checksum !== undefined) {
    job.resumed = {
      checksum: resumed.checksum,
      repoSizeBytes: resumed.repoSizeBytes ?? resumed.sizeBytes,
      repoChecksum: resumed.repoChecksum ?? resumed.checksum,
    }
  }
  return job
}

/** Repository file of a file that is not bundled. */
export function ownRepoName(planned: PlannedFile, backup: BackupInPlan, policy: CopyPolicy): string {
  const { name } = planned.file
  // A block incremental file has its own extension; the size of its map is not known yet, so any size above 0 serves.
  const stored = blocksOf(planned, backup, policy) === undefined ? { name } : { name, blockMapSize: 1 }
  return fileRepoName(backup.stanza, stored, backup.label, policy.compression.type)
}

/** A map can only be continued with its own block size; a file without a map gets the size for its size and age. */
function blocksOf({ file, priorBlocks }: PlannedFile, backup: BackupInPlan, policy: CopyPolicy): CopyFileJob['blocks'] {
  if (policy.blocks === undefined) return undefined
  const { blockMapSize: mapSizeBytes, blockSize, blockChecksumSize: checksumSize } = priorBlocks ?? {}
  if (priorBlocks === undefined || mapSizeBytes === undefined || blockSize === undefined || checksumSize === undefined)
    return blockShapeOf(policy.blocks, file.sizeBytes, backup.timestampStart - file.timestamp)
  return {
    blockSize,
    checksumSize,
    prior: {
      repoName: fileRepoName(backup.stanza, priorBlocks, backup.label, policy.compression.type),
      offset: priorBlocks.bundleOffset ?? 0,
      repoSizeBytes: priorBlocks.repoSizeBytes ?? priorBlocks.sizeBytes,
      mapSizeBytes,
      sizeBytes: priorBlocks.sizeBytes,
      blockSize,
      checksumSize,
      referenceCount: backup.references.length - 1,
      cipherPass: policy.cipherPass,
    },
  }
}

/** `base/5/16384.3` is the fourth segment file of its relation: 3. */
function segmentNumber(name: string): number {
  const suffix = /\.([0-9]+)$/.exec(name)
  return suffix === null ? 0 : Number(suffix[1])
}
