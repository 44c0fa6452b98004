import type { CompressType } from '../util/compress-type.ts'
import type { JsonObject } from './canonical-json.ts'
import type { ExtraLine } from './extra-lines.ts'
import type { LazyList } from '../util/lazy-list.ts'
import type { ByteString } from '../util/byte-string.ts'

/**
 * backup.manifest: every path, link and file of one backup (docs/format/manifest.md). Names are latin1 strings: one
 * character is one byte. Times are seconds since the epoch, sizes bytes. `undefined`: the key is not in the file.
 */
export type BackupType = 'full' | 'diff' | 'incr'

export function isBackupType(text: string): text is BackupType {
  return text === 'full' || text === 'diff' || text === 'incr'
}
export type { CompressType }

/** The checksum of an empty file, whether or not the manifest contains it. */
export const SHA1_OF_NOTHING = 'da39a3ee5e6b4b0d3255bfef95601890afd80709'

/** A user or group name; `false` if the id has no name. */
export type OwnerName = ByteString | false

export interface Owner {
  readonly user: OwnerName
  readonly group: OwnerName
}

/** One regular file. Owner and mode are always set, with the values of the default sections if necessary. */
export interface ManifestFile extends Owner {
  /** `pg_data/base/5/1259` or `pg_tblspc/16384/PG_15_202209061/5/16391`. */
  readonly name: ByteString
  /** Permission bits, for example 0o600. */
  readonly mode: number
  /** Size as copied. */
  readonly sizeBytes: number
  /** Size in the listing, if different (`szo`). */
  readonly sizeOriginalBytes?: number
  /** mtime of the source, seconds. */
  readonly timestamp: number
  /** SHA-1 of the content, hex. Absent for empty files; readers use the SHA-1 of no bytes. */
  readonly checksum?: string
  /** SHA-1 of the stored bytes (`rck`), if they differ from the content. */
  readonly repoChecksum?: string
  /** Stored size, if different from `sizeBytes`. */
  readonly repoSizeBytes?: number
  /** Label of the backup that stores the content. */
  readonly reference?: string
  readonly bundleId?: number
  readonly bundleOffset?: number
  /** Block size in bytes (`bi` * 8192). */
  readonly blockSize?: number
  readonly blockChecksumSize?: number
  /** Stored size of the block map; present exactly if the file is stored block incremental. */
  readonly blockMapSize?: number
  readonly checksumPage?: boolean
  /** Blocks of the relation, single or inclusive ranges. */
  readonly checksumPageErrors?: readonly (number | readonly [number, number])[]
  /** Members of a newer release, kept unchanged. */
  readonly extra?: JsonObject
}

export interface ManifestPath extends Owner {
  readonly name: ByteString
  readonly mode: number
}

export interface ManifestLink extends Owner {
  readonly name: ByteString
  /** Exactly as readlink returned it. */
  readonly destination: ByteString
}

/** The data directory, a tablespace, or a symlink found in the data directory. */
export interface ManifestTarget {
  /** `pg_data`, `pg_tblspc/16384`, `pg_data/pg_wal`, ... */
  readonly name: ByteString
  readonly type: 'path' | 'link'
  readonly path: ByteString
  /** For a link to a file: base name of the destination. */
  readonly file?: ByteString
  /** Oid as a string. */
  readonly tablespaceId?: ByteString
  readonly tablespaceName?: ByteString
}

export interface ManifestDatabase {
  readonly name: ByteString
  readonly oid: number
  readonly lastSystemOid: number
}

export interface ManifestOptions {
  readonly archiveCheck: boolean
  readonly archiveCopy: boolean
  /** Unknown in a partial manifest. */
  readonly backupStandby?: boolean
  readonly bufferSize?: number
  readonly checksumPage: boolean
  readonly compress: boolean
  readonly compressLevel?: number
  readonly compressLevelNetwork?: number
  readonly compressType: CompressType
  readonly delta?: boolean
  readonly hardlink: boolean
  readonly online: boolean
  readonly processMax?: number
}

/** The defaults of `[target:*:default]`; they decide which values the file omits, not the values themselves. */
export interface ManifestDefaults {
  readonly file: Owner & { readonly mode: number }
  readonly path: Owner & { readonly mode: number }
  readonly link?: Owner
}

export interface Manifest {
  readonly backrestVersion: string
  readonly label: string
  readonly type: BackupType
  readonly prior?: string
  /** All labels of the chain, the own label last; block maps refer to them by index. */
  readonly references: readonly string[]
  readonly archiveStart?: string
  readonly archiveStop?: string
  readonly lsnStart?: string
  readonly lsnStop?: string
  readonly timestampStart: number
  readonly timestampCopyStart: number
  readonly timestampStop: number
  readonly bundle: boolean
  readonly bundleRaw: boolean
  readonly blockIncremental: boolean
  /** The cluster; `historyId` 0 in a partial manifest. */
  readonly db: {
    readonly historyId: number
    readonly systemId: bigint
    readonly version: string
    readonly catalogVersion: number
    readonly controlVersion: number
  }
  readonly options: ManifestOptions
  readonly targets: readonly ManifestTarget[]
  /** Passphrase of the stored files, in an encrypted repository. */
  readonly cipherPass?: string
  readonly databases: readonly ManifestDatabase[]
  readonly annotations: ReadonlyMap<ByteString, ByteString>
  readonly files: ManifestFileList
  readonly links: readonly ManifestLink[]
  readonly paths: readonly ManifestPath[]
  readonly defaults: ManifestDefaults
  /** Lines of a newer release, kept unchanged. */
  readonly extra?: readonly ExtraLine[]
}

/** The files of a manifest that was read, sorted by name. An object is made for each when it is read; an array is such a list, too. */
export type ManifestFileList = LazyList<ManifestFile>

/** Files of a manifest, sorted by name, which may be made one by one: a backup may have millions. */
export interface ManifestFiles extends Iterable<ManifestFile> {
  readonly length: number
}

/** As a backup writes it. */
export type WritableManifest = Omit<Manifest, 'files'> & { readonly files: ManifestFiles }
