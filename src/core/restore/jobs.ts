import { SHA1_OF_NOTHING, type Manifest, type ManifestFile } from '../../format/manifest.ts'
import { fileRepoName } from '../../format/repo-path.ts'
import { bytesToText } from '../../util/byte-string.ts'
import { PgtsError } from '../../util/error.ts'
import type { LazyList } from '../../util/lazy-list.ts'
import type { Repository } from '../repository.ts'
import type { Ownership } from './owners.ts'
import type { PlannedFile } from './plan.ts'
import type { RestoreBlocks, RestoreFileJob } from './restore-job.ts'
import type { RestoreFile } from './restore-job.ts'

/** Small files share a job up to this number of files and bytes. */
const BATCH_FILES = 64
const BATCH_BYTES = 4 * 1024 * 1024
/**
 * More files of a bundle on remote storage: ranges that are adjacent cost one request. Few enough that the workers share a
 * bundle of the usual size.
 */
const DISTANT_FILES = 1024
const DISTANT_BYTES = 16 * 1024 * 1024

/** What the jobs of a restore have in common. */
export interface JobsRequest {
  readonly manifest: Manifest
  readonly stanza: string
  readonly ownership: Ownership
  readonly repository: Repository
  /** See RestoreFileJob. */
  readonly syncUnchanged: boolean
}

/** Creates the jobs of a restore, largest files first; files of one bundle stay in the order of their offsets. */
export function* restoreJobs(
  files: LazyList<PlannedFile>,
  { manifest, stanza, ownership, repository, syncUnchanged }: JobsRequest,
): Generator<RestoreFileJob> {
  const distant = repository.storage.parallel !== undefined
  const job = (batch: readonly RestoreFile[]): RestoreFileJob => ({
    repoKey: repository.key,
    files: batch,
    compressType: manifest.options.compressType,
    bundleRaw: manifest.bundleRaw,
    syncUnchanged,
    stanza,
    references: manifest.references,
    cipherPass: manifest.cipherPass,
  })
  let batch: RestoreFile[] = []
  let bytes = 0
  let wasBundled = false
  for (const planned of inReadingOrder(files)) {
    const { sizeBytes: size, bundleId } = planned.file
    const bundled = distant && bundleId !== undefined
    const [mostFiles, mostBytes] = bundled ? [DISTANT_FILES, DISTANT_BYTES] : [BATCH_FILES, BATCH_BYTES]
    const isFull = batch.length >= mostFiles || bytes + size > mostBytes
    // A bundle after other files begins a job, so that it is not split where those fill one.
    if (batch.length > 0 && (isFull || (bundled && !wasBundled))) {
      yield job(batch)
      batch = []
      bytes = 0
    }
    wasBundled = bundled
    batch.push(describe(planned, manifest, stanza, ownership))
    bytes += size
  }
  if (batch.length > 0) yield job(batch)
}

/** Unbundled files as planned, then the bundles one by one, each in order of offset. */
function* inReadingOrder(files: LazyList<PlannedFile>): Generator<PlannedFile> {
  // Positions only: the files themselves are made when their turn has come.
  const bundles = new Map<string, number[]>()
  const offsets = new Float64Array(files.length)
  const single: number[] = []
  let place = 0
  for (const { file, action } of files) {
    const { bundleId, reference = '', sizeBytes } = file
    if (bundleId === undefined || sizeBytes === 0 || action === 'zero') single.push(place)
    else {
      const key = `${reference} ${bundleId}`
      const members = bundles.get(key)
      if (members === undefined) bundles.set(key, [place])
      else members.push(place)
      offsets[place] = file.bundleOffset ?? 0
    }
    place++
  }
  for (const at of single) yield files.at(at)!
  for (const members of bundles.values()) {
    members.sort((a, b) => offsets[a]! - offsets[b]!)
    for (const at of members) yield files.at(at)!
  }
}

function describe(planned: PlannedFile, manifest: Manifest, stanza: string, ownership: Ownership): RestoreFile {
  const { file, path, action } = planned
  const owner = ownership.ownerOf(file)
  const common = {
    name: file.name,
    path,
    action,
    sizeBytes: file.sizeBytes,
    timestamp: file.timestamp,
    mode: file.mode,
    owner,
  }
  if (file.sizeBytes === 0 || action === 'zero') return { ...common, checksum: SHA1_OF_NOTHING }
  if (file.checksum === undefined) {
    throw new PgtsError('format', `manifest of backup ${manifest.label} has no checksum for ${bytesToText(file.name)}`)
  }
  const repoName = fileRepoName(stanza, file, manifest.label, manifest.options.compressType)
  const offset = file.bundleOffset ?? 0
  const length = file.repoSizeBytes ?? file.sizeBytes
  const slice = file.bundleId === undefined ? {} : { slice: { offset, length } }
  const stored = { repoName, repoSizeBytes: length, ...slice, ...blocksOf(file, offset, length) }
  return { ...common, checksum: file.checksum, stored }
}

function blocksOf(file: ManifestFile, offset: number, repoSizeBytes: number): { blocks?: RestoreBlocks } {
  const { blockMapSize: mapSizeBytes, blockSize, blockChecksumSize: checksumSize } = file
  if (mapSizeBytes === undefined) return {}
  if (blockSize === undefined || checksumSize === undefined) {
    throw new PgtsError('format', `manifest has a block map but no block size for ${bytesToText(file.name)}`)
  }
  return { blocks: { offset, repoSizeBytes, mapSizeBytes, blockSize, checksumSize } }
}
