import type { CompressType } from '../../util/compress-type.ts'
import type { StoredBlocks } from '../block/read.ts'
import type { BlockShape } from './block-policy.ts'
import type { PageCheckResult } from './page-check.ts'

/** One file of the cluster to copy into the repository. */
export interface CopyFileJob {
  /** Manifest name. */
  readonly name: string
  /** Absolute path on the cluster's host, links resolved. */
  readonly pgName: string
  /** Where it is stored when it is not part of a bundle. */
  readonly repoName: string
  /** Size when the list was made, bytes. */
  readonly sizeBytes: number
  /** PostgreSQL may extend the file during the copy; recovery restores what is beyond `sizeBytes` from WAL. */
  readonly sizeLimited: boolean
  /** pg_control: read until its CRC is right, stored with a zero tail. */
  readonly control: boolean
  /** Verify page checksums; number of the file's first block within its relation. */
  readonly firstBlock?: number
  /** Store it as blocks, and only those that differ from `prior`. */
  readonly blocks?: BlockShape & { readonly prior?: StoredBlocks }
  /** The prior backup holds `sizeBytes` bytes with this SHA-1: the same content is not stored again. */
  readonly priorContent?: {
    readonly checksum: string
    /** Hash the source before anything is written, because it is probably the same. */
    readonly first: boolean
  }
  /** An interrupted backup left this under `repoName`; sizes in bytes. */
  readonly resumed?: {
    readonly checksum: string
    readonly repoSizeBytes: number
    /** Of the stored bytes. */
    readonly repoChecksum: string
  }
}

/** Files that are stored one by one, or, with `bundle`, one after the other in one repository file. */
export interface CopyFilesJob {
  readonly repoKey: number
  readonly files: readonly CopyFileJob[]
  readonly bundle?: {
    readonly id: number
    readonly repoName: string
    /** Slices are stored in the leaner form of codec and cipher. */
    readonly raw: boolean
  }
  readonly codec: { readonly type: CompressType; readonly level: number }
  /** Passphrase of the backup set's files, in an encrypted repository. */
  readonly cipherPass?: string
  readonly pages: { readonly size: number; readonly headerCheck: boolean }
  /** For files that are stored as blocks. */
  readonly superBlocks?: {
    /** How much is compressed together. */
    readonly sizeBytes: number
    /** Index of this backup in its own list of references. */
    readonly reference: number
  }
}

/**
 * `unchanged`: the prior backup has it. `emptied`: it was truncated during the backup, and nothing is stored for it.
 * `resumed`: the interrupted backup has it.
 */
export type CopiedFile =
  | { readonly name: string; readonly outcome: 'vanished' | 'unchanged' | 'emptied' | 'resumed' }
  | ({ readonly name: string; readonly outcome: 'copied' } & StoredContent)

export interface StoredContent {
  readonly sizeBytes: number
  readonly checksum: string
  readonly repoSizeBytes: number
  /** Of the stored bytes, when a filter changed them. */
  readonly repoChecksum?: string
  readonly bundle?: { readonly id: number; readonly offset: number }
  /** Present when it is stored as blocks. */
  readonly blocks?: BlockShape & { readonly mapSizeBytes: number }
  readonly pages?: PageCheckResult
  /** Something that the operator should know. */
  readonly warning?: string
}
