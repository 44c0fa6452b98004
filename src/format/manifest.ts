import type { CompressType } from '../util/compress-type.ts'
import type { JsonObject } from './canonical-json.ts'
import type { ExtraLine } from './extra-lines.ts'

/**
 * backup.manifest: every path, link and file of one backup (docs/format/manifest.md).
 * Names are latin1 strings: one character is one byte. Times are seconds since the epoch, sizes bytes.
 * `undefined` means: the key is not in the file.
 */
export type BackupType = 'full' | 'diff' | 'incr'
export type { CompressType }

/** What an empty file has for a checksum, in the file or not. */
export const SHA1_OF_NOTHING = 'da39a3ee5e6b4b0d3255bfef95601890afd80709'

/** A user or group name; `false` is an id that has no name. */
export type OwnerName = string | false

export interface Owner {
  readonly user: OwnerName
  readonly group: OwnerName
}

/** One regular file. Owner and mode are always filled in, whatever the default sections say. */
export interface ManifestFile extends Owner {
  /** `pg_data/base/5/1259` or `pg_tblspc/16384/PG_15_202209061/5/16391`. */
  readonly name: string
  /** Permission bits, for example 0o600. */
  readonly mode: number
  /** As copied. */
  readonly sizeBytes: number
  /** As found when the list was built, when different (`szo`). */
  readonly sizeOriginalBytes?: number
  /** mtime of the source, seconds. */
  readonly timestamp: number
  /** SHA-1 of the content, hex. Empty files have none in the file; readers use the SHA-1 of nothing. */
  readonly checksum?: string
  /** SHA-1 of the stored bytes (`rck`), when a filter changed them. */
  readonly repoChecksum?: string
  /** Stored size, when different from `sizeBytes`. */
  readonly repoSizeBytes?: number
  /** Label of the backup that physically holds the content. */
  readonly reference?: string
  readonly bundleId?: number
  readonly bundleOffset?: number
  /** Block size in bytes (`bi` * 8192). */
  readonly blockSize?: number
  readonly blockChecksumSize?: number
  /** Stored size of the block map; present exactly when the file is stored as block incremental. */
  readonly blockMapSize?: number
  readonly checksumPage?: boolean
  /** Blocks of the relation, single or inclusive ranges. */
  readonly checksumPageErrors?: readonly (number | readonly [number, number])[]
  /** Members of a newer release, carried along. */
  readonly extra?: JsonObject
}

export interface ManifestPath extends Owner {
  readonly name: string
  readonly mode: number
}

export interface ManifestLink extends Owner {
  readonly name: string
  /** Exactly as readlink returned it. */
  readonly destination: string
}

/** The data directory, a tablespace, or a symlink found in the data directory. */
export interface ManifestTarget {
  /** `pg_data`, `pg_tblspc/16384`, `pg_data/pg_wal`, ... */
  readonly name: string
  readonly type: 'path' | 'link'
  readonly path: string
  /** For a link to a file: base name of the destination. */
  readonly file?: string
  /** Oid as a string. */
  readonly tablespaceId?: string
  readonly tablespaceName?: string
}

export interface ManifestDatabase {
  readonly name: string
  readonly oid: number
  readonly lastSystemOid: number
}

export interface ManifestOptions {
  readonly archiveCheck: boolean
  readonly archiveCopy: boolean
  /** Not known yet in a partial manifest. */
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

/** The defaults of `[target:*:default]`; they decide what the file leaves out, never what a value is. */
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
  /** Every label of the chain, own label last; block maps refer to it by index. */
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
  readonly annotations: ReadonlyMap<string, string>
  readonly files: readonly ManifestFile[]
  readonly links: readonly ManifestLink[]
  readonly paths: readonly ManifestPath[]
  readonly defaults: ManifestDefaults
  /** Lines of a newer release, carried along. */
  readonly extra?: readonly ExtraLine[]
}
