import type { CompressType } from '../../util/compress-type.ts'
import type { TargetFile } from './durable-file.ts'
import type { FileAction } from './plan.ts'
import type { ByteString } from '../../util/byte-string.ts'
import type { JobEnv } from '../worker-env.ts'

/** How a file is stored block incremental. Sizes in bytes. */
export interface RestoreBlocks {
  /** Offset of the super blocks in the file's own backup; the map follows them. */
  readonly offset: number
  readonly repoSizeBytes: number
  readonly mapSizeBytes: number
  readonly blockSize: number
  readonly checksumSize: number
}

/** One file to restore. Sizes in bytes, paths and names are byte strings. */
export interface RestoreFile extends TargetFile {
  /** Name in the manifest. */
  readonly name: string
  readonly action: FileAction
  /** SHA-1 of the content, hex. */
  readonly checksum: string
  /** Absent for an empty and a zeroed file: they are never read from the repository. */
  readonly stored?: {
    readonly repoName: ByteString
    /** Stored size, bundled or not; absent: unknown. */
    readonly repoSizeBytes?: number
    /** Position in a bundle. */
    readonly slice?: { readonly offset: number; readonly length: number }
    /** Present for a block incremental file, bundled or not. */
    readonly blocks?: RestoreBlocks
  }
}

/** A few files per job, so that small ones do not need a message each. */
export interface RestoreFileJob {
  readonly repoKey: number
  readonly files: readonly RestoreFile[]
  readonly compressType: CompressType
  /** Bundled files are compressed and encrypted in the raw form. */
  readonly bundleRaw: boolean
  /**
   * Sync files whose content is right already: an earlier restore was interrupted, and what it wrote may be in the page cache only.
   * Without one they are as durable as any file of a cluster that was shut down.
   */
  readonly syncUnchanged: boolean
  readonly stanza: string
  /** Labels of the chain, in the order of the indexes in block maps. */
  readonly references: readonly string[]
  /** Passphrase of the files of the backup set; absent: the repository is not encrypted. */
  readonly cipherPass?: string
}

/** One file of a job, and what its worker has for it. */
export interface RestoreTask {
  readonly file: RestoreFile
  readonly job: RestoreFileJob
  readonly env: JobEnv
  readonly signal: AbortSignal
}

export interface RestoredFile {
  /** `kept`: size and time agree; `matches`: the checksum agrees; `empty`: nothing to copy; `zeroed`: not selected. */
  readonly outcome: 'restored' | 'matches' | 'kept' | 'empty' | 'zeroed'
  /** For an existing file with some different blocks: number of bytes fetched and written. */
  readonly revisedBytes?: number
}
