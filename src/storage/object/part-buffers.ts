/** Buffers that are kept for the next file; more than this were needed only for a moment. */
const KEPT = 8

/** Files begin with this and grow fourfold, until they need a whole part. */
const FIRST_BYTES = 64 * 1024
const GROWN_BYTES = 1024 * 1024

/** Buffers of the size of a part, used again and again: they are outside the heap, where garbage is seen late. */
export class PartBuffers {
  readonly #free: Buffer[] = []

  /**
   * A buffer for at least `needed` bytes, with the first `used` of the smaller one before.
   *
   * @param partBytes the most that will ever be needed
   */
  grow(buffer: Buffer, used: number, needed: number, partBytes: number): Buffer {
    const larger = this.#larger(buffer.length, needed, partBytes)
    buffer.copy(larger, 0, 0, used)
    return larger
  }

  #larger(length: number, needed: number, partBytes: number): Buffer {
    const wanted = Math.max(FIRST_BYTES, needed, length * 4)
    if (wanted <= GROWN_BYTES && wanted < partBytes) return Buffer.allocUnsafeSlow(wanted)
    const free = this.#free.findIndex((kept) => kept.length === partBytes)
    return free === -1 ? Buffer.allocUnsafeSlow(partBytes) : this.#free.splice(free, 1)[0]!
  }

  /** Nobody reads it any more. */
  giveBack(buffer: Buffer, partBytes: number): void {
    if (buffer.length === partBytes && this.#free.length < KEPT) this.#free.push(buffer)
  }
}
