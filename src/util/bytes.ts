/**
 * Byte streams: a source is pulled, a sink is pushed. Both may return at once or return a promise, so that a local file
 * needs no turn of the event loop, while an object store can wait.
 */
export interface ByteSource extends AsyncDisposable {
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
  const parts: Buffer[] = []
  let sizeBytes = 0
  try {
    for (;;) {
      const chunk = await source.next()
      if (chunk === undefined) return Buffer.concat(parts)
      sizeBytes += chunk.length
      if (limit !== undefined && sizeBytes > limit.maxBytes) throw limit.tooLarge()
      parts.push(Buffer.from(chunk))
    }
  } finally {
    await source[Symbol.asyncDispose]()
  }
}

/** A source over bytes in memory. */
export function sourceOf(...chunks: readonly Uint8Array[]): ByteSource {
  let index = 0
  return { next: () => chunks[index++], [Symbol.asyncDispose]: async () => undefined }
}
