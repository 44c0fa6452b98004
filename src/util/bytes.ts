/**
 * Byte streams: a source is pulled, a sink is pushed. Both may return at once or return a promise, so that a local file
 * needs no turn of the event loop, while an object store can wait.
 */
export interface ByteSource extends AsyncDisposable {
  /** Number of bytes to expect, if known. There may be fewer or more. */
  readonly sizeBytes?: number
  /**
   * The next bytes, or undefined at the end. They are valid until the next call: a consumer that waits must copy them.
   */
  next(): Uint8Array | undefined | Promise<Uint8Array | undefined>
}

export interface ByteSink {
  /**
   * A promise means back pressure. The caller may reuse the chunk when the call has returned (or its promise has
   * resolved).
   */
  write(chunk: Uint8Array): void | Promise<void>
}

/** The whole content of a source in one buffer; for small files only. @throws `limit.tooLarge()` for a larger one */
export async function readAll(
  source: ByteSource,
  limit?: { readonly maxBytes: number; readonly tooLarge: () => Error },
): Promise<Buffer> {
  // One buffer instead of a list of chunks, which would be in memory twice when they are joined.
  let buffer: Buffer = Buffer.allocUnsafeSlow(Math.min(source.sizeBytes ?? 0, limit?.maxBytes ?? Infinity))
  let filled = 0
  try {
    for (;;) {
      const chunk = await source.next()
      if (chunk === undefined) return buffer.subarray(0, filled)
      const end = filled + chunk.length
      if (limit !== undefined && end > limit.maxBytes) throw limit.tooLarge()
      if (end > buffer.length) buffer = enlarged(buffer, filled, end)
      buffer.set(chunk, filled)
      filled = end
    }
  } finally {
    await source[Symbol.asyncDispose]()
  }
}

/**
 * A buffer with the first `used` bytes of another one, and room for `needed` bytes at least. The rest takes no memory before it is
 * written.
 */
export function enlarged(buffer: Buffer, used: number, needed: number): Buffer {
  const larger = Buffer.allocUnsafeSlow(Math.max(needed, 2 * buffer.length))
  buffer.copy(larger, 0, 0, used)
  return larger
}

/** A source over bytes in memory. */
export function sourceOf(...chunks: readonly Uint8Array[]): ByteSource {
  let index = 0
  return { next: () => chunks[index++], [Symbol.asyncDispose]: async () => undefined }
}
