import type { CompressType } from '../../util/compress-type.ts'
import type { TargetFile } from './durable-file.ts'
import type { FileAction } from './plan.ts'

/** How the blocks of a file are stored. Sizes in bytes. */
export interface RestoreBlocks {
  /** Of the super blocks that the file's own backup holds, and of the map after them. */
  readonly offset: number
  readonly repoSizeBytes: number
  readonly mapSizeBytes: number
  readonly blockSize: number
  readonly checksumSize: number
}

/** One file to restore. Sizes in bytes, paths and names are byte strings. */
export interface RestoreFile extends TargetFile {
  /** Manifest name. */
  readonly name: string
  readonly action: FileAction
  /** SHA-1 of the content, hex. */
  readonly checksum: string
  /** Absent for an empty file and a zeroed one: those are never read from the repository. */
  readonly stored?: {
    readonly repoName: string
    /** Of the content as it is stored, in a bundle or on its own; absent: not known. */
    readonly repoSizeBytes?: number
    /** Of a bundle: where this file's bytes are. */
    readonly slice?: { readonly offset: number; readonly length: number }
    /** Of a block incremental file, bundled or not. */
    readonly blocks?: RestoreBlocks
  }
}

/** A few files at a time, so that small ones do not cost a message each. */
export interface RestoreFileJob {
  readonly repoKey: number
  readonly files: readonly RestoreFile[]
  readonly compressType: CompressType
  /** Files in bundles are compressed and encrypted in the raw form. */
  readonly bundleRaw: boolean
  readonly stanza: string
  /** Labels of the chain, in the order in which block maps count them. */
  readonly references: readonly string[]
  /** Passphrase of the backup set's files; absent: the repository is not encrypted. */
  readonly cipherPass?: string
}

export interface RestoredFile {
  readonly name: string
  readonly path: string
  readonly sizeBytes: number
  readonly checksum: string
  /** `kept`: size and time agreed; `matches`: the checksum did; `empty`: nothing to copy; `zeroed`: not wanted. */
  readonly outcome: 'restored' | 'matches' | 'kept' | 'empty' | 'zeroed'
  /** Of an existing file of which only some blocks were wrong: how many bytes were fetched and written. */
  readonly revisedBytes?: number
}
