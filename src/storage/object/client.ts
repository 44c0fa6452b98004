/** An object as a listing or a HEAD tells it. */
export interface ObjectEntry {
  /** Full name in the bucket, below no prefix of ours. A latin1 string: one character is one byte of the name. */
  readonly name: string
  readonly sizeBytes: number
  readonly mtimeMs: number
}

export interface ObjectPage {
  readonly objects: readonly ObjectEntry[]
  /** With a delimiter: the names that end with it, once each. */
  readonly prefixes: readonly string[]
  /** Where the next page begins; absent: this was the last. */
  readonly next?: string
}

export interface ObjectListRequest {
  readonly prefix: string
  /** '/' gives one level; absent, everything below. */
  readonly delimiter?: '/'
  /** `next` of the page before. */
  readonly after?: string
  readonly signal?: AbortSignal
}

/**
 * A range that ends beyond the object gives what there is of it; one that begins at the end or beyond it gives an empty
 * body, not an error (stores answer 416 there).
 */
export interface ObjectGetRequest {
  /** First byte, from 0. */
  readonly offset?: number
  /** How many bytes; absent: to the end. Never 0. */
  readonly length?: number
  /** `version` of an earlier body: when the object has been replaced since, `get` fails with `file-read`. */
  readonly version?: string
  readonly signal?: AbortSignal
}

/** The bytes of one answer. May end early or fail when the connection does; who reads it counts and asks again. */
export interface ObjectBody {
  readonly chunks: AsyncIterable<Uint8Array>
  /** What the answer promised to carry, bytes; absent: it came without a length (chunked, or until the connection ends). */
  readonly sizeBytes?: number
  /** What tells this content from a later one under the same name (an ETag or generation), where the store has it. */
  readonly version?: string
  /** Drop the connection when the rest is not wanted. */
  cancel(): void
}

/** An object that was not removed. */
export interface NotRemoved {
  readonly name: string
  readonly reason: string
  /** Refused by permission, or by a lock on the object: asking again does not help. */
  readonly denied?: boolean
}

/** What a file is for, so that a store can keep it in its own class and with its own tags. */
export type ObjectKind = 'info' | 'manifest' | 'wal' | 'data'

export interface ObjectPutRequest {
  readonly kind: ObjectKind
  readonly signal?: AbortSignal
}

/** An upload in parts, invisible until `complete` resolves. */
export interface ObjectUpload {
  /**
   * Send one part; `number` counts from 1. All but the last have the same size in files up to some GB (beyond, later
   * parts are larger). Parts may be in flight together, at most `limits.parallelParts`, and a part that failed may be
   * sent again. The bytes are not used after it resolves or rejects.
   */
  part(number: number, bytes: Uint8Array, signal?: AbortSignal): Promise<void>
  complete(signal?: AbortSignal): Promise<void>
  /** Give the parts back to the store. Succeeds when there is nothing to abort. */
  abort(): Promise<void>
}

export interface ObjectLimits {
  /** Smallest and largest size of a part but the last, bytes. `multipleOf`: sizes in between that the store takes. */
  readonly partBytes: { readonly min: number; readonly max: number; readonly multipleOf?: number }
  readonly maxParts: number
  readonly parallelParts: number
  /** How many names one `removeBatch` takes. */
  readonly removeBatch: number
}

/**
 * An object store, thinly: one method is about one request, nothing is retried and nothing is buffered here. S3, Azure
 * and GCS each implement it, `object/storage.ts` makes a StorageDriver of it, `object/retry.ts` repeats what may be
 * repeated. Every error is a PgtsError: `file-missing` where the object is not there, `path-missing` where its bucket
 * is not; when asking again can help, a `RetryableStoreError` (object/retryable-error.ts) says so and how long the store asked to wait.
 */
export interface ObjectClient extends AsyncDisposable {
  /** For messages: `s3://bucket`. Never contains a secret. */
  readonly display: string
  readonly limits: ObjectLimits
  head(name: string, signal?: AbortSignal): Promise<ObjectEntry | undefined>
  list(request: ObjectListRequest): Promise<ObjectPage>
  get(name: string, request?: ObjectGetRequest): Promise<ObjectBody>
  /** Create or replace an object, whole, in one request. */
  put(name: string, bytes: Uint8Array, request: ObjectPutRequest): Promise<void>
  /** As `put`, only when nothing has the name yet; false when something has. Absent: the store cannot promise that. */
  putIfAbsent?(name: string, bytes: Uint8Array, request: ObjectPutRequest): Promise<boolean>
  upload(name: string, request: ObjectPutRequest): Promise<ObjectUpload>
  /** Names whose removal did not happen, with the reason; what was not there counts as removed. */
  removeBatch(names: readonly string[], signal?: AbortSignal): Promise<readonly NotRemoved[]>
  /** Abort uploads that a crash left, started before `beforeMs`; their number. Absent: the store forgets them itself. */
  abortAbandoned?(prefix: string, beforeMs: number, signal?: AbortSignal): Promise<number>
}
