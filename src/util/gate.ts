import { setTimeout as sleep } from 'node:timers/promises'

const LOOK_MS = 20
/** A thread that was terminated inside never leaves. */
const PATIENCE_MS = 60_000

/** Limits how many threads do something at the same time. */
export class Gate {
  readonly buffer: SharedArrayBuffer
  readonly #most: number
  readonly #inside: Int32Array

  /** @param buffer that of the same gate in another thread */
  constructor(most: number, buffer = new SharedArrayBuffer(4)) {
    this.#most = most
    this.buffer = buffer
    this.#inside = new Int32Array(buffer)
  }

  /** Waits for a free place, but not longer than a minute. @returns disposed to leave */
  async enter(): Promise<Disposable> {
    const end = performance.now() + PATIENCE_MS
    while (Atomics.load(this.#inside, 0) >= this.#most && performance.now() < end) await sleep(LOOK_MS)
    Atomics.add(this.#inside, 0, 1)
    return { [Symbol.dispose]: () => void Atomics.sub(this.#inside, 0, 1) }
  }
}
