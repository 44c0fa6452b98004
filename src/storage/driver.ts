import type { ByteSink, ByteSource } from '../util/bytes.ts'
import type { ByteString } from '../util/byte-string.ts'

/** Times are milliseconds since the epoch, sizes are bytes. */
export interface StoredFile {
  /** Name relative to the driver's root, '/'-separated. */
  readonly name: ByteString
  readonly kind: 'file' | 'path' | 'link'
  /** 0 if it is not a file. */
  readonly sizeBytes: number
  readonly mtimeMs: number
}

/** How parts of files are read from a storage with a network latency. */
export interface PartReading {
  /** Requests that are made ahead of the one whose bytes are used. */
  readonly ahead: number
  /** A gap of at most this size between two parts is read as well, because another request would take longer. Bytes. */
  readonly gapBytes: number
}

export interface Cancellable {
  readonly signal?: AbortSignal
}

export interface ListOptions extends Cancellable {
  /** List everything below, files and links only. Otherwise: files, links and paths of one level. */
  readonly recursive?: boolean
  /** The caller needs names and kinds only: sizes and times may be 0 if they would cost a stat call per file. */
  readonly namesOnly?: boolean
}

export interface ByteRange {
  /** First byte. */
  readonly offset?: number
  /** Number of bytes; absent: to the end. A file that ends earlier is an error (`file-read`). */
  readonly length?: number
}

/**
 * Access to the files of a repository. Names are relative, '/'-separated and never contain '..'; '' is the root itself.
 * A name is a latin1 string: one character is one byte of the file name.
 *
 * Every driver promises that
 *  - a file appears under its name complete, and only when `commit` resolves; then it survives a power failure;
 *  - `stat`, `read` and `list` see it from then on;
 *  - removing an absent file succeeds; reading it rejects with `file-missing`;
 *  - listing a prefix that does not exist returns nothing;
 *  - `list` has no order, holds one page in memory, and stops fetching when its consumer stops.
 */
export interface StorageDriver extends AsyncDisposable {
  /** For messages: `/var/lib/pgts`, `s3://bucket/...`. Never contains a secret. */
  readonly display: string
  /**
   * Number of files that one worker should process concurrently, because each call waits for a network. Absent: one,
   * because calls return within microseconds.
   */
  readonly parallel?: number
  /** True: the connection has ended, so every operation fails; open another driver. Absent: it recovers. */
  readonly lost?: boolean
  /** How parts of its files are read; absent: `plannedReads` decides. */
  readonly reading?: PartReading
  stat(name: string, options?: Cancellable): Promise<StoredFile | undefined>
  list(prefix: string, options?: ListOptions): AsyncIterable<StoredFile>
  read(name: string, range?: ByteRange & Cancellable): Promise<ByteSource>
  create(name: string, options?: CreateOptions): Promise<PendingFile>
  /**
   * Creates a small file, whole, under a name that does not exist; false if it exists, also if another writer created
   * it first. Absent: the storage cannot guarantee that. Rejects with `feature-not-supported` if the store refuses the
   * condition.
   */
  createIfAbsent?(name: string, bytes: Uint8Array, options?: Cancellable): Promise<boolean>
  remove(name: string, options?: Cancellable): Promise<void>
  /** As `remove`, for many files in few requests. Absent: it would not be faster. @see removeFiles */
  removeFiles?(names: readonly string[], options?: Cancellable): Promise<void>
  /** Everything below the prefix, and the prefix itself. */
  removeTree(prefix: string, options?: Cancellable): Promise<void>
  /**
   * Removes the parts of uploads that a crash left and that began before `beforeMs`; returns their number. Absent: a
   * crash leaves nothing invisible, or the store removes it.
   */
  abortUploads?(prefix: string, beforeMs: number, options?: Cancellable): Promise<number>
  /** Make the directory entries below a prefix durable, after commits with `deferSync`. Objects are durable already. */
  sync(prefix: string, options?: Cancellable): Promise<void>
  /** Present if the storage has directories and links (posix). */
  readonly links?: LinkSupport
}

export interface CreateOptions extends Cancellable {
  /**
   * The caller promises that no file refers to this name until a later commit, so an incomplete file after a crash is
   * harmless: backup data is written before its manifest. A driver may then write under the final name without a
   * rename.
   */
  readonly unreferenced?: boolean
}

export interface LinkSupport {
  /** Create or replace a symbolic link. */
  symlink(name: string, destination: string): Promise<void>
  readlink(name: string): Promise<ByteString | undefined>
  makePath(name: string): Promise<void>
}

/**
 * A file that is being written. Disposed without `commit` it is discarded: temporary file removed, multipart upload
 * aborted.
 */
export interface PendingFile extends AsyncDisposable {
  readonly sink: ByteSink
  /** `deferSync`: leave the directory's fsync to one `driver.sync(prefix)` at the end of the backup. */
  commit(options?: { deferSync?: boolean }): Promise<void>
}
