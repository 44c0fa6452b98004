export type Chunks = Iterable<Uint8Array> | AsyncIterable<Uint8Array>

/**
 * Bytes in, bytes out. A stage owns its output buffer until its next call (or the next pull of the iterable), so a
 * consumer that waits copies what it keeps. Codecs that have no synchronous form answer with an async iterable.
 */
export interface Stage {
  push(chunk: Uint8Array): Chunks
  finish(): Chunks
  /** Frees what the stage holds outside the heap, or gives it back to a pool. Safe to call twice. */
  close?(): void
}

/** What a codec module offers. Levels have been checked when it is called. */
export interface Codec {
  compressor(level: number, raw: boolean, wholeBytes?: number): Stage
  decompressor(raw: boolean): Stage
}
