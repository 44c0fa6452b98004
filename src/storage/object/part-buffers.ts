import { onIdle } from '../../util/idle-memory.ts'

/** Number of buffers kept for the next files; more are only needed for short peaks. */
const KEPT = 8
const KEPT_SMALL = 32

/** Files begin with a buffer of this size, which grows fourfold up to a whole part. */
const FIRST_BYTES = 64 * 1024
const GROWN_BYTES = 1024 * 1024

/** Reusable buffers of the size of a part, or of a small file. They are outside the heap, where garbage collection reacts late. */
export class PartBuffers {
  readonly #free: Buffer[] = []
  readonly #small: Buffer[] = []

  constructor() {
    const self = new WeakRef(this)
    onIdle(() => self.deref()?.clear())
  }

  /** Drops the buffers that are not in use. */
  clear(): void {
    this.#free.length = 0
  }

  /**
   * Returns a buffer for at least `needed` bytes, with the first `used` bytes of the smaller one.
   *
   * @param partBytes maximum size
   */
  grow(buffer: Buffer, used: number, needed: number, partBytes: number): Buffer {
    const larger = this.#larger(buffer.length, needed, partBytes)
    buffer.copy(larger, 0, 0, used)
    return larger
  }

  #larger(length: number, needed: number, partBytes: number): Buffer {
    const wanted = Math.max(FIRST_BYTES, needed, length * 4)
    if (wanted === FIRST_BYTES && wanted < partBytes) return this.#small.pop() ?? Buffer.allocUnsafeSlow(wanted)
    if (wanted <= GROWN_BYTES && wanted < partBytes) return Buffer.allocUnsafeSlow(wanted)
    const free = this.#free.findIndex((kept) => kept.length === partBytes)
    return free === -1 ? Buffer.allocUnsafeSlow(partBytes) : this.#free.splice(free, 1)[0]!
  }

  /** The caller no longer reads the buffer. */
  giveBack(buffer: Buffer, partBytes: number): void {
    if (buffer.length === partBytes && this.#free.length < KEPT) this.#free.push(buffer)
    else if (buffer.length === FIRST_BYTES && this.#small.length < KEPT_SMALL) this.#small.push(buffer)
  }
}
