export type Chunks = Iterable<Uint8Array> | AsyncIterable<Uint8Array>

/**
 * Bytes in, bytes out. A stage owns its output buffer until its next call (or the next step of the iterable), so a
 * consumer that waits must copy the bytes. Codecs without a synchronous form return an async iterable.
 */
export interface Stage {
  push(chunk: Uint8Array): Chunks
  finish(): Chunks
  /** Frees memory outside the heap, or returns it to a pool. May be called twice. */
  close?(): void
}

export interface CodecOptions {
  /** The raw form used in bundles and block incremental files; see docs/format. */
  readonly raw?: boolean
  /** Expected size of the content, by which a codec chooses how to compress: in one call if it is the size of the first chunk. */
  readonly contentBytes?: number
  /** Number of threads that compress the file, if the codec can use several; default 1, which is the calling thread. */
  readonly threads?: number
}

/** The interface of a codec module. The caller has checked the level. */
export interface Codec {
  /** Its stages answer with plain iterables only. */
  readonly synchronous: boolean
  compressor(level: number, options: CodecOptions): Stage
  decompressor(raw: boolean): Stage
  /** Present if one call is faster than a stage. See `decompressWhole` in registry.ts. */
  decompressWhole?(source: Uint8Array, into: Uint8Array): number
}
