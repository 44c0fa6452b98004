/**
 * Memory that several files of one worker share: each may hold one buffer of its own, and whatever it wants beyond that
 * it waits for here. As no file waits for its first buffer, files cannot wait for each other in a circle.
 */
export class ByteBudget {
  readonly #capacity: number
  #used = 0
  readonly #waiting: { readonly bytes: number; readonly go: () => void }[] = []

  constructor(capacityBytes: number) {
    this.#capacity = capacityBytes
  }

  /** Take now, if there is room and nobody waits. What is larger than all there is, is given when nothing is used. */
  tryTake(bytes: number): boolean {
    if (this.#waiting.length > 0 || !this.#fits(bytes)) return false
    this.#used += bytes
    return true
  }

  async take(bytes: number, signal?: AbortSignal): Promise<void> {
    if (this.tryTake(bytes)) return
    await new Promise<void>((resolve, reject) => {
      const entry = {
        bytes,
        go: () => {
          signal?.removeEventListener('abort', onAbort)
          resolve()
        },
      }
      const onAbort = () => {
        this.#waiting.splice(this.#waiting.indexOf(entry), 1)
        this.#wake()
        reject(signal?.reason as Error)
      }
      this.#waiting.push(entry)
      signal?.addEventListener('abort', onAbort, { once: true })
    })
  }

  give(bytes: number): void {
    this.#used -= bytes
    this.#wake()
  }

  #fits(bytes: number): boolean {
    return this.#used === 0 || this.#used + bytes <= this.#capacity
  }

  #wake(): void {
    for (let first = this.#waiting[0]; first !== undefined && this.#fits(first.bytes); first = this.#waiting[0]) {
      this.#waiting.shift()
      this.#used += first.bytes
      first.go()
    }
  }
}
