import type { ByteSink } from '../../util/bytes.ts'
import { onIdle } from '../../util/idle-memory.ts'

/**
 * Free buffers of earlier files: new memory costs a page fault for every 4 KiB, which takes longer than reading. Only the part
 * that was written uses memory. One thread pushes few files at once.
 */
const spare: Buffer[] = []
const MOST_SPARE = 2
onIdle(() => (spare.length = 0))
/** Compression can lengthen a file a little. */
const MARGIN_BYTES = 256 * 1024

/** Collects what is stored of a segment. */
export class KeptBytes implements ByteSink {
  #buffer: Buffer
  #used = 0

  /** @param expectedBytes size of the file before it is compressed */
  constructor(expectedBytes: number) {
    const room = expectedBytes + (expectedBytes >> 6) + MARGIN_BYTES
    const index = spare.findIndex((buffer) => buffer.length === room)
    this.#buffer = index < 0 ? Buffer.allocUnsafeSlow(room) : spare.splice(index, 1)[0]!
  }

  write(chunk: Uint8Array): void {
    if (chunk.length > this.#buffer.length - this.#used) this.#grow(chunk.length)
    this.#buffer.set(chunk, this.#used)
    this.#used += chunk.length
  }

  #grow(more: number): void {
    const larger = Buffer.allocUnsafeSlow(2 * (this.#used + more))
    this.#buffer.copy(larger, 0, 0, this.#used)
    this.#buffer = larger
  }

  get bytes(): Uint8Array {
    return this.#buffer.subarray(0, this.#used)
  }

  release(): void {
    spare.push(this.#buffer)
    if (spare.length > MOST_SPARE) spare.shift()
  }
}
