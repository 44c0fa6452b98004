import type { Stage } from './stage.ts'

/** A stage that passes bytes unchanged and keeps the first ones. */
export class HeadTap implements Stage {
  bytes = Buffer.alloc(0)
  readonly #most: number

  /** @param most number of bytes to keep */
  constructor(most: number) {
    this.#most = most
  }

  push(chunk: Uint8Array): Uint8Array[] {
    const missing = this.#most - this.bytes.length
    if (missing > 0) this.bytes = Buffer.concat([this.bytes, chunk.subarray(0, missing)])
    return [chunk]
  }

  finish(): Uint8Array[] {
    return []
  }
}
