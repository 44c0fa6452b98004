import { SHA1_OF_NOTHING, type Manifest, type ManifestFile } from '../../format/manifest.ts'
import { backupLabelPath, fileRepoName } from '../../format/repo-path.ts'
import type { StorageDriver } from '../../storage/driver.ts'
import { PieceTable, storedSize } from './piece-table.ts'
import type { Expected, StoredPiece } from './prove-stored.ts'
import { bytes, type ByteString } from '../../util/byte-string.ts'

/** What a backup stores, compared with its directory. */
export interface BackupPieces {
  /** Files with a checksum of their stored bytes. */
  readonly table: PieceTable
  /** All others, which must be decoded: files that are not bundled, and bundled ones in the order of reading. */
  readonly decoded: { readonly single: readonly StoredPiece[]; readonly bundled: readonly StoredPiece[] }
  /** Faulty without being read. */
  readonly wrong: readonly WrongPiece[]
  /**
   * Number of block incremental files from releases that recorded no checksum for them: only their size can be checked.
   */
  readonly unproven: number
  /** Files in the backup's directory that are not in the manifest. */
  readonly orphans: readonly ByteString[]
}

export interface WrongPiece {
  readonly name: ByteString
  readonly repoName: ByteString
  readonly fault: 'missing' | 'size' | 'other'
  readonly reason: string
}

/**
 * Compares what a backup stores with its directory: one listing shows missing, truncated and unknown files before
 * anything is read. Files that the backup refers to are checked with the backup that stores them.
 */
export async function backupPieces(
  storage: StorageDriver,
  stanza: string,
  manifest: Manifest,
  signal: AbortSignal,
): Promise<BackupPieces> {
  const { label } = manifest
  const path = backupLabelPath(stanza, label)
  const listed = new Map<ByteString, number>()
  for await (const { name, kind, sizeBytes } of storage.list(path, { recursive: true, signal })) {
    if (kind === 'file') listed.set(name, sizeBytes)
  }
  const unseen = new Set(listed.keys())
  for (const name of [bytes`${path}/backup.manifest`, bytes`${path}/backup.manifest.copy`]) unseen.delete(name)

  const hashed: ManifestFile[] = []
  const single: StoredPiece[] = []
  const bundled: StoredPiece[] = []
  const wrong: WrongPiece[] = []
  let unproven = 0
  const storesEmpty = !manifest.bundle && !manifest.blockIncremental
  const isPlain = manifest.options.compressType === 'none' && manifest.cipherPass === undefined
  for (const file of manifest.files) {
    if (file.reference !== undefined && file.reference !== label) continue
    const repoName = fileRepoName(stanza, file, label, manifest.options.compressType)
    const inBundle = file.bundleId !== undefined
    // An empty file is stored only if no files are bundled.
    if (file.sizeBytes === 0 && !storesEmpty && (inBundle || !listed.has(repoName))) continue
    unseen.delete(repoName)
    const fault = faultOf(file, repoName, listed)
    if (fault !== undefined) {
      wrong.push({ name: file.name, repoName, ...fault })
      continue
    }
    const expected = expectedOf(file)
    if (expected === undefined) {
      if (file.blockMapSize === undefined)
        wrong.push({ name: file.name, repoName, fault: 'other', reason: 'the manifest has no checksum for it' })
      else unproven++
    } else if (file.sizeBytes > 0 && (isPlain || expected.of === 'stored')) hashed.push(file)
    else if (inBundle)
      bundled.push({ name: file.name, repoName, slice: { offset: file.bundleOffset ?? 0, length: storedSize(file) }, expected }) // prettier-ignore
    else single.push({ name: file.name, repoName, expected })
  }
  bundled.sort((a, b) =>
    a.repoName === b.repoName ? a.slice!.offset - b.slice!.offset : a.repoName < b.repoName ? -1 : 1,
  )
  const orphans = [...unseen].filter((name) => !name.endsWith('.pgbackrest.tmp')).sort()
  const table = new PieceTable(stanza, manifest, hashed)
  return { table, decoded: { single, bundled }, wrong, orphans, unproven }
}

function faultOf(
  file: ManifestFile,
  repoName: string,
  listed: ReadonlyMap<string, number>,
): { fault: 'missing' | 'size'; reason: string } | undefined {
  const size = listed.get(repoName)
  if (size === undefined) return { fault: 'missing', reason: 'the file does not exist' }
  // The compressed size of an empty file is not recorded.
  if (file.sizeBytes === 0) return undefined
  const wanted = storedSize(file)
  if (file.bundleId === undefined) {
    return size === wanted ? undefined : { fault: 'size', reason: `its size is ${size} bytes, expected ${wanted}` }
  }
  const end = (file.bundleOffset ?? 0) + wanted
  return size >= end ? undefined : { fault: 'size', reason: `its bundle ends at ${size}, but the file at ${end}` }
}

/** The checksum of the stored bytes if there is one; block incremental files have no other. */
function expectedOf(file: ManifestFile): Expected | undefined {
  if (file.repoChecksum !== undefined) return { of: 'stored', checksum: file.repoChecksum }
  const checksum = file.sizeBytes === 0 ? SHA1_OF_NOTHING : file.checksum
  if (file.blockMapSize !== undefined || checksum === undefined) return undefined
  return { of: 'content', checksum, sizeBytes: file.sizeBytes }
}
