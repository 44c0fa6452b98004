import type { ByteSink, ByteSource } from '../util/bytes.ts'

/** Time and space: all times in milliseconds since the epoch, all sizes in bytes. */
export interface StoredFile {
  /** Name relative to the driver's root, '/'-separated. */
  readonly name: string
  readonly kind: 'file' | 'path' | 'link'
  /** 0 for what is not a file. */
  readonly sizeBytes: number
  readonly mtimeMs: number
}

export interface Cancellable {
  readonly signal?: AbortSignal
}

export interface ListOptions extends Cancellable {
  /** Walk below as well; then only files and links are listed. Otherwise files, links and paths of one level. */
  readonly recursive?: boolean
  /** Names and kinds are enough: sizes and times may be 0, where each would cost a look at the file. */
  readonly namesOnly?: boolean
}

export interface ByteRange {
  /** First byte. */
  readonly offset?: number
  /** How many bytes; to the end when absent. A file that ends earlier is an error (`file-read`). */
  readonly length?: number
}

/**
 * Where repository bytes rest. Names are relative, '/'-separated and never contain '..'; '' is the root itself.
 * A name is a latin1 string: one character is one byte of the file name.
 *
 * Every driver promises that
 *  - a file appears under its name whole, and only when `commit` resolves; then it survives a power cut;
 *  - what has appeared is seen at once by `stat`, `read` and `list`;
 *  - removing what is absent succeeds; reading it rejects with `file-missing`;
 *  - listing a prefix that does not exist gives nothing;
 *  - `list` has no order, holds one page in memory, and stops fetching when its consumer stops.
 */
export interface StorageDriver extends AsyncDisposable {
  /** For messages: `/var/lib/pgts`, `s3://bucket/...`. Never contains a secret. */
  readonly display: string
  /**
   * How many files are best worked on at once by one worker, because each call waits for a network. Absent: one; calls
   * answer in microseconds.
   */
  readonly parallel?: number
  stat(name: string, options?: Cancellable): Promise<StoredFile | undefined>
  list(prefix: string, options?: ListOptions): AsyncIterable<StoredFile>
  read(name: string, range?: ByteRange & Cancellable): Promise<ByteSource>
  create(name: string, options?: CreateOptions): Promise<PendingFile>
  /**
   * A small file, whole, under a name that nothing has yet; false when something has, also when another writer came
   * first by a moment. Absent: the storage cannot promise that. `feature-not-supported`: the store behind it cannot.
   */
  createIfAbsent?(name: string, bytes: Uint8Array, options?: Cancellable): Promise<boolean>
  remove(name: string, options?: Cancellable): Promise<void>
  /** As `remove`, for many files in few requests. Absent: it would be no faster. @see removeFiles */
  removeFiles?(names: readonly string[], options?: Cancellable): Promise<void>
  /** Everything below the prefix, and the prefix itself. */
  removeTree(prefix: string, options?: Cancellable): Promise<void>
  /**
   * Give back what uploads hold that a crash left behind, begun before `beforeMs`; their number. Absent: a crash leaves
   * nothing that is not seen, or the store forgets it by itself.
   */
  abortUploads?(prefix: string, beforeMs: number, options?: Cancellable): Promise<number>
  /** Make the directory entries below a prefix durable, after commits with `deferSync`. Objects are durable already. */
  sync(prefix: string, options?: Cancellable): Promise<void>
  /** Present where the storage has directories and can link (posix). Absent means: do without. */
  readonly links?: LinkSupport
}

export interface CreateOptions extends Cancellable {
  /**
   * The caller promises that nothing refers to this name until a later commit does, so a torn file after a crash
   * harms nobody: backup data before its manifest. A driver may then write under the final name and save a rename.
   */
  readonly unreferenced?: boolean
}

export interface LinkSupport {
  /** Create or replace a symbolic link. */
  symlink(name: string, destination: string): Promise<void>
  readlink(name: string): Promise<string | undefined>
  makePath(name: string): Promise<void>
}

/** A file being written. Left without `commit` it is discarded: temporary file removed, multipart upload aborted. */
export interface PendingFile extends AsyncDisposable {
  readonly sink: ByteSink
  /** `deferSync`: leave the directory's fsync to one `driver.sync(prefix)` at the end of the backup. */
  commit(options?: { deferSync?: boolean }): Promise<void>
}
