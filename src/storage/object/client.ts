import type { ByteString } from '../../util/byte-string.ts'
/** An object as a listing or a HEAD reports it. */
export interface ObjectEntry {
  /** Full name in the bucket. A latin1 string: one character is one byte of the name. */
  readonly name: ByteString
  readonly sizeBytes: number
  readonly mtimeMs: number
}

export interface ObjectPage {
  readonly objects: readonly ObjectEntry[]
  /** With a delimiter: the prefixes that end with it, once each. */
  readonly prefixes: readonly ByteString[]
  /** Where the next page begins; absent: this is the last page. */
  readonly next?: string
}

export interface ObjectListRequest {
  readonly prefix: ByteString
  /** '/' gives one level; absent, everything below. */
  readonly delimiter?: '/'
  /** `next` of the previous page. */
  readonly after?: string
  readonly signal?: AbortSignal
}

/**
 * A range that ends beyond the object returns the existing part; one that begins at the end or beyond returns an empty
 * body, not an error (stores answer 416).
 */
export interface ObjectGetRequest {
  /** First byte, from 0. */
  readonly offset?: number
  /** Number of bytes; absent: to the end. Never 0. */
  readonly length?: number
  /** `version` of an earlier body: if the object has been replaced since, `get` fails with `file-read`. */
  readonly version?: string
  readonly signal?: AbortSignal
}

/**
 * The bytes of one answer. They may end early or fail with the connection; the reader compares the count and requests
 * the rest.
 */
export interface ObjectBody {
  readonly chunks: AsyncIterable<Uint8Array>
  /** Announced number of bytes; absent: the answer has no length (chunked, or until the connection ends). */
  readonly sizeBytes?: number
  /** Identifies this content among later ones of the same name (an ETag or generation), if the store has it. */
  readonly version?: string
  /** Closes the connection if the rest is not needed. */
  cancel(): void
}

/** An object that was not removed. */
export interface NotRemoved {
  readonly name: ByteString
  readonly reason: string
  /** Refused because of a missing permission or a lock on the object: a retry does not help. */
  readonly denied?: boolean
}

/** The purpose of a file, so that a store can use a storage class and tags for it. */
export type ObjectKind = 'info' | 'manifest' | 'wal' | 'data'

export interface ObjectPutRequest {
  readonly kind: ObjectKind
  readonly signal?: AbortSignal
}

/** An upload in parts, invisible until `complete` resolves. */
export interface ObjectUpload {
  /**
   * Sends one part; the first has `number` 1. All but the last have the same size in files up to some GB; later parts
   * are larger. At most `limits.parallelParts` parts may be in flight, and a failed part may be sent again. The caller
   * may reuse `bytes` after the promise has settled.
   */
  part(number: number, bytes: Uint8Array, signal?: AbortSignal): Promise<void>
  complete(signal?: AbortSignal): Promise<void>
  /** Removes the parts from the store. Succeeds if there is nothing to abort. */
  abort(): Promise<void>
}

export interface ObjectLimits {
  /** Smallest and largest size of every part except the last, bytes. `multipleOf`: sizes must be a multiple of this. */
  readonly partBytes: { readonly min: number; readonly max: number; readonly multipleOf?: number }
  readonly maxParts: number
  readonly parallelParts: number
  /** Maximum number of names for one `removeBatch`. */
  readonly removeBatch: number
}

/**
 * The thin interface to an object store: one method is about one request, without retries or buffers. S3, Azure and GCS
 * implement it; `object/storage.ts` makes it a StorageDriver; `object/retry.ts` adds retries. Every error is a
 * PgtsError: `file-missing` for a missing object, `path-missing` for a missing bucket, a `RetryableStoreError`
 * (object/retryable-error.ts) if a retry can succeed, with the wait that the store asked for.
 */
export interface ObjectClient extends AsyncDisposable {
  /** For messages: `s3://bucket`. Never contains a secret. */
  readonly display: string
  readonly limits: ObjectLimits
  head(name: ByteString, signal?: AbortSignal): Promise<ObjectEntry | undefined>
  list(request: ObjectListRequest): Promise<ObjectPage>
  get(name: ByteString, request?: ObjectGetRequest): Promise<ObjectBody>
  /** Creates or replaces an object in one request. */
  put(name: ByteString, bytes: Uint8Array, request: ObjectPutRequest): Promise<void>
  /** As `put`, only if the name does not exist; false if it exists. Absent: the store cannot guarantee that. */
  putIfAbsent?(name: ByteString, bytes: Uint8Array, request: ObjectPutRequest): Promise<boolean>
  upload(name: ByteString, request: ObjectPutRequest): Promise<ObjectUpload>
  /** Returns the names that were not removed, with the reason; a missing object is treated as removed. */
  removeBatch(names: readonly ByteString[], signal?: AbortSignal): Promise<readonly NotRemoved[]>
  /**
   * Aborts uploads that a crash left and that began before `beforeMs`; returns their number. Absent: the store removes
   * them itself.
   */
  abortAbandoned?(prefix: ByteString, beforeMs: number, signal?: AbortSignal): Promise<number>
}
