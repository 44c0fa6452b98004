import type { Stage } from './stage.ts'

/** A stage that lets bytes through and keeps the first ones. */
export class HeadTap implements Stage {
  bytes = Buffer.alloc(0)
  readonly #most: number

  /** @param most how many to keep */
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
