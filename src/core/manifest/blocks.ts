import type { SuperBlock } from '../../format/block-map.ts'
import type { Manifest, ManifestFile } from '../../format/manifest.ts'
import { fileRepoName } from '../../format/repo-path.ts'
import type { StorageDriver } from '../../storage/driver.ts'
import { bytesToText, type ByteString } from '../../util/byte-string.ts'
import { PgtsError } from '../../util/error.ts'
import { planReads } from '../block/plan-reads.ts'
import { loadBlockMap } from '../block/read.ts'
import type { BlocksOfBackup } from './report.ts'

/** What a restore of one block incremental file reads, by backup; undefined: the file is stored whole. */
export async function blocksOf(
  storage: StorageDriver,
  stanza: string,
  manifest: Manifest,
  file: ManifestFile,
  signal: AbortSignal,
): Promise<readonly BlocksOfBackup[] | undefined> {
  const { blockMapSize, blockSize, blockChecksumSize, sizeBytes } = file
  if (blockMapSize === undefined || blockSize === undefined || blockChecksumSize === undefined) return undefined
  const { label, references, cipherPass } = manifest
  const { compressType } = manifest.options
  const map = await loadBlockMap(
    storage,
    {
      repoName: fileRepoName(stanza, file, label, compressType),
      offset: file.bundleOffset ?? 0,
      repoSizeBytes: file.repoSizeBytes ?? sizeBytes,
      mapSizeBytes: blockMapSize,
      sizeBytes,
      blockSize,
      checksumSize: blockChecksumSize,
      referenceCount: references.length,
      cipherPass,
    },
    signal,
  )
  const counts = new Map<SuperBlock, number>()
  for (const { superBlock } of map.blocks) counts.set(superBlock, (counts.get(superBlock) ?? 0) + 1)
  const found = new Map<number, { -readonly [K in keyof BlocksOfBackup]: BlocksOfBackup[K] }>()
  for (const { reference, bundleId, length, superBlocks } of planReads(map, () => true)) {
    const total = found.get(reference) ?? {
      reference,
      repoName: repoNameOf(stanza, manifest, file, reference, bundleId),
      reads: 0,
      readBytes: 0,
      superBlocks: 0,
      superBlockBytes: 0,
      blocks: 0,
      blockBytes: 0,
    }
    found.set(reference, total)
    total.reads++
    total.readBytes += length
    for (const { superBlock } of superBlocks) {
      total.superBlocks++
      total.superBlockBytes += superBlock.plainBytes
      total.blocks += counts.get(superBlock) ?? 0
    }
    total.blockBytes = total.blocks * blockSize
  }
  return [...found.values()]
}

function repoNameOf(
  stanza: string,
  { references, label, options }: Manifest,
  { name, blockMapSize }: ManifestFile,
  index: number,
  bundleId: number,
): ByteString {
  const reference = references[index]
  if (reference === undefined)
    throw new PgtsError(
      'format',
      `${bytesToText(name)} refers to a backup that is not in the references of the manifest`,
    )
  const stored = { name, reference, blockMapSize }
  return fileRepoName(stanza, bundleId === 0 ? stored : { ...stored, bundleId }, label, options.compressType)
}
