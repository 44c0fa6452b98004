import type { CompressType } from '../../format/manifest.ts'
import { bundleName, fileRepoName } from '../../format/repo-path.ts'
import { blockShapeOf, type BlockPolicy } from './block-policy.ts'
import type { CopyFilesJob, CopyFileJob } from './copy-job.ts'
import type { PlannedFile } from './increment.ts'

/** How files are copied, from options and settings of the server. Sizes in bytes. */
export interface CopyPolicy {
  readonly codec: { readonly type: CompressType; readonly level: number }
  /** Passphrase of the backup set's files, in an encrypted repository. */
  readonly cipherPass: string | undefined
  /** Undefined: page checksums are not verified. */
  readonly pages: { readonly size: number; readonly segmentBlocks: number; readonly headerCheck: boolean } | undefined
  /** Undefined: every file is stored on its own. */
  readonly bundle?: {
    /** Content of a bundle, before compression. */
    readonly sizeBytes: number
    /** Larger files are stored on their own. */
    readonly limitBytes: number
  }
  /** Undefined: every file is stored whole. */
  readonly blocks?: BlockPolicy
  /** Bundled files in the leaner form of codec and cipher: the same for a whole set, with or without bundles now. */
  readonly bundleRaw: boolean
}

/** The backup that is being made, as its jobs need to know it. */
export interface BackupInPlan {
  readonly repoKey: number
  readonly stanza: string
  readonly label: string
  /** Every label of the chain, the own one last. */
  readonly references: readonly string[]
  /** Seconds since the epoch. */
  readonly timestampStart: number
}

/** Small files share a job until it holds this many bytes or files: a message between threads costs as much as a small file. */
const BATCH_BYTES = 1024 * 1024
const BATCH_FILES = 32

/**
 * The jobs of a backup, drawn one by one: the largest files first, so that no worker is left alone with a big one at
 * the end; then the small ones, bundled or in batches.
 */
export function* planCopyJobs(
  planned: readonly PlannedFile[],
  backup: BackupInPlan,
  policy: CopyPolicy,
): Generator<CopyFilesJob> {
  const { bundle } = policy
  const toRead = planned.filter(({ action }) => action === 'copy' || action === 'compare')
  // What an interrupted backup stored on its own stays so.
  const isSmall = ({ file, resumed }: PlannedFile) =>
    bundle !== undefined && file.sizeBytes <= bundle.limitBytes && resumed === undefined
  const jobFor = (files: readonly PlannedFile[]): CopyFilesJob => ({
    repoKey: backup.repoKey,
    files: files.map((file) => copyJob(file, backup, policy)),
    codec: policy.codec,
    pages: { size: policy.pages?.size ?? 8192, headerCheck: policy.pages?.headerCheck ?? true },
    cipherPass: policy.cipherPass,
    superBlocks:
      policy.blocks === undefined
        ? undefined
        : { sizeBytes: policy.blocks.superBytes, reference: backup.references.length - 1 },
  })

  const alone = toRead
    .filter((file) => !isSmall(file))
    .sort((a, b) => b.file.sizeBytes - a.file.sizeBytes || (a.file.name < b.file.name ? -1 : 1))
  for (const files of batches(alone, BATCH_BYTES, BATCH_FILES)) yield jobFor(files)

  if (bundle === undefined) return
  let id = 0
  for (const files of smallByTarget(toRead.filter(isSmall))) {
    for (const members of batches(files, bundle.sizeBytes, Infinity)) {
      id++
      yield {
        ...jobFor(members),
        bundle: { id, repoName: bundleName(backup.stanza, backup.label, id), raw: policy.bundleRaw },
      }
    }
  }
}

/** A batch is closed by the file that makes it full. */
function* batches(files: readonly PlannedFile[], bytes: number, count: number): Generator<PlannedFile[]> {
  let batch: PlannedFile[] = []
  let batchBytes = 0
  for (const planned of files) {
    batch.push(planned)
    batchBytes += planned.file.sizeBytes
    if (batchBytes < bytes && batch.length < count) continue
    yield batch
    batch = []
    batchBytes = 0
  }
  if (batch.length > 0) yield batch
}

/**
 * Files of one target go into bundles of their own, so that restoring a tablespace reads few bundles. Files that have
 * not changed for long come together: later backups of the set will refer to them together.
 */
function smallByTarget(files: readonly PlannedFile[]): Iterable<PlannedFile[]> {
  const targets = new Map<string, PlannedFile[]>()
  for (const planned of files) {
    const target = /^pg_tblspc\/[0-9]+/.exec(planned.file.name)?.[0] ?? 'pg_data'
    const members = targets.get(target)
    if (members === undefined) targets.set(target, [planned])
    else members.push(planned)
  }
  for (const members of targets.values()) {
    members.sort((a, b) => a.file.timestamp - b.file.timestamp || (a.file.name < b.file.name ? -1 : 1))
  }
  return targets.values()
}

function copyJob(planned: PlannedFile, backup: BackupInPlan, policy: CopyPolicy): CopyFileJob {
  const { file, action, priorEntry, resumed } = planned
  const blocks = blocksOf(planned, backup, policy)
  return {
    name: file.name,
    pgName: file.path,
    repoName: ownRepoName(planned, backup, policy),
    sizeBytes: file.sizeBytes,
    sizeLimited: file.sizeLimited,
    control: file.name === 'pg_data/global/pg_control',
    firstBlock:
      policy.pages !== undefined && file.pageChecksumApplies
        ? segmentNumber(file.name) * policy.pages.segmentBlocks
        : undefined,
    blocks,
    priorContent:
      priorEntry?.checksum === undefined ? undefined : { checksum: priorEntry.checksum, first: action === 'compare' },
    resumed:
      resumed?.checksum === undefined
        ? undefined
        : {
            checksum: resumed.checksum,
            repoSizeBytes: resumed.repoSizeBytes ?? resumed.sizeBytes,
            repoChecksum: resumed.repoChecksum ?? resumed.checksum,
          },
  }
}

/** Where a file is stored when it is not bundled. */
export function ownRepoName(planned: PlannedFile, backup: BackupInPlan, policy: CopyPolicy): string {
  const { name } = planned.file
  // A file of blocks has an ending of its own; how large its map will be is not known yet.
  const stored = blocksOf(planned, backup, policy) === undefined ? { name } : { name, blockMapSize: 1 }
  return fileRepoName(backup.stanza, stored, backup.label, policy.codec.type)
}

/** A map can only be continued in the shape it has; a file without one gets the shape that its size and age suggest. */
function blocksOf({ file, priorBlocks }: PlannedFile, backup: BackupInPlan, policy: CopyPolicy): CopyFileJob['blocks'] {
  if (policy.blocks === undefined) return undefined
  const { blockMapSize: mapSizeBytes, blockSize, blockChecksumSize: checksumSize } = priorBlocks ?? {}
  if (priorBlocks === undefined || mapSizeBytes === undefined || blockSize === undefined || checksumSize === undefined)
    return blockShapeOf(policy.blocks, file.sizeBytes, backup.timestampStart - file.timestamp)
  return {
    blockSize,
    checksumSize,
    prior: {
      repoName: fileRepoName(backup.stanza, priorBlocks, backup.label, policy.codec.type),
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

/** `base/5/16384.3` is the fourth segment file of its relation. */
function segmentNumber(name: string): number {
  const suffix = /\.([0-9]+)$/.exec(name)
  return suffix === null ? 0 : Number(suffix[1])
}
