import type { CompressType } from '../../format/manifest.ts'
import { fileRepoName } from '../../format/repo-path.ts'
import type { ListedFile } from '../../postgres/data-directory.ts'
import type { CopyFileJob, CopyFilesJob } from './copy-file.ts'

/** How files are to be copied; from options and from what the server says. */
export interface CopyPolicy {
  readonly codec: { readonly type: CompressType; readonly level: number }
  /** Passphrase of the files of this backup set; absent: the repository is not encrypted. */
  readonly cipherPass?: string | undefined
  /** Undefined: page checksums are not verified. */
  readonly pages: { readonly size: number; readonly segmentBlocks: number; readonly headerCheck: boolean } | undefined
}

/** Small files share a job until it holds this many bytes or files: a message between threads costs as much as a small file. */
const BATCH_BYTES = 1024 * 1024
const BATCH_FILES = 32

/**
 * The jobs of a backup, drawn one by one: the largest files first, so that no worker is left alone with a big one at
 * the end; then the small ones in batches.
 */
export function* planCopyJobs(
  files: readonly ListedFile[],
  where: { readonly stanza: string; readonly label: string },
  policy: CopyPolicy,
): Generator<CopyFilesJob> {
  const largestFirst = [...files].sort((a, b) => b.sizeBytes - a.sizeBytes || (a.name < b.name ? -1 : 1))
  const pages = { size: policy.pages?.size ?? 8192, headerCheck: policy.pages?.headerCheck ?? true }
  const cipher = policy.cipherPass === undefined ? {} : { cipherPass: policy.cipherPass }
  let batch: CopyFileJob[] = []
  let batchBytes = 0
  for (const file of largestFirst) {
    batch.push(copyJob(file, where, policy))
    batchBytes += file.sizeBytes
    if (batchBytes >= BATCH_BYTES || batch.length >= BATCH_FILES) {
      yield { files: batch, codec: policy.codec, ...cipher, pages }
      batch = []
      batchBytes = 0
    }
  }
  if (batch.length > 0) yield { files: batch, codec: policy.codec, ...cipher, pages }
}

function copyJob(file: ListedFile, where: { stanza: string; label: string }, policy: CopyPolicy): CopyFileJob {
  return {
    name: file.name,
    pgName: file.path,
    repoName: fileRepoName(where.stanza, { name: file.name }, where.label, policy.codec.type),
    sizeBytes: file.sizeBytes,
    sizeLimited: file.sizeLimited,
    control: file.name === 'pg_data/global/pg_control',
    ...(policy.pages !== undefined && file.pageChecksumApplies
      ? { firstBlock: segmentNumber(file.name) * policy.pages.segmentBlocks }
      : {}),
  }
}

/** `base/5/16384.3` is the fourth segment file of its relation. */
function segmentNumber(name: string): number {
  const suffix = /\.([0-9]+)$/.exec(name)
  return suffix === null ? 0 : Number(suffix[1])
}
