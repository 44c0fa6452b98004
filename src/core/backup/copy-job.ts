import type { Compression } from '../../util/compress-type.ts'
import type { StoredBlocks } from '../block/read.ts'
import type { BlockShape } from './block-policy.ts'
import type { PageCheckResult } from './page-check.ts'
import type { ByteString } from '../../util/byte-string.ts'

/** One file of the cluster to copy into the repository. */
export interface CopyFileJob {
  /** Position in the list of planned files. */
  readonly index: number
  /** Name in the manifest. */
  readonly name: ByteString
  /** Absolute path on the database host, links resolved. */
  readonly pgName: string
  /** Repository file; absent in a bundle. */
  readonly repoName?: string
  /** Size in the listing, bytes. */
  readonly sizeBytes: number
  /** PostgreSQL may extend the file during the copy; recovery restores what is beyond `sizeBytes` from WAL. */
  readonly sizeLimited: boolean
  /** pg_control: read until its CRC is right, stored with a zero tail. */
  readonly control: boolean
  /** Block number of the file's first page within its relation; absent: page checksums are not verified. */
  readonly firstBlock?: number
  /** Store the file block incremental; with `prior` only the blocks that differ from it. */
  readonly blocks?: BlockShape & { readonly prior?: StoredBlocks }
  /** The prior backup has `sizeBytes` bytes with this SHA-1: equal content is not stored again. */
  readonly priorContent?: {
    readonly checksum: string
    /** Hash the source before anything is written, because it is probably equal. */
    readonly first: boolean
  }
  /** An interrupted backup stored this file under `repoName`; sizes in bytes. */
  readonly resumed?: {
    readonly checksum: string
    readonly repoSizeBytes: number
    /** SHA-1 of the stored bytes. */
    readonly repoChecksum: string
  }
}

/** Files that are stored one by one or, with `bundle`, one after the other in one repository file. */
export interface CopyFilesJob {
  readonly repoKey: number
  readonly files: readonly CopyFileJob[]
  readonly bundle?: {
    readonly id: number
    readonly repoName: string
    /** Bundled files are stored in the raw form of codec and cipher. */
    readonly raw: boolean
  }
  readonly compression: Compression
  /** Threads that compress a large file, because fewer files than workers are left; absent: one. */
  readonly compressThreads?: number
  /** Passphrase of the backup set's files, in an encrypted repository. */
  readonly cipherPass?: string
  readonly pages: { readonly size: number; readonly headerCheck: boolean }
  /** For block incremental files. */
  readonly superBlocks?: {
    /** Plain size of a super block. */
    readonly sizeBytes: number
    /** Index of this backup in its list of references. */
    readonly reference: number
  }
}

/**
 * `unchanged`: the prior backup has the content. `emptied`: the file was truncated during the backup; nothing is
 * stored. `resumed`: the interrupted backup has stored it.
 */
export type CopiedFile =
  | { readonly outcome: 'vanished' | 'unchanged' | 'emptied' | 'resumed' }
  | ({ readonly outcome: 'copied' } & StoredContent)

export interface StoredContent {
  readonly sizeBytes: number
  readonly checksum: string
  readonly repoSizeBytes: number
  /** SHA-1 of the stored bytes, if they differ from the content. */
  readonly repoChecksum?: string
  readonly bundle?: { readonly id: number; readonly offset: number }
  /** Present if the file is stored block incremental. */
  readonly blocks?: BlockShape & { readonly mapSizeBytes: number }
  readonly pages?: PageCheckResult
  /** A message for the operator. */
  readonly warning?: string
}
