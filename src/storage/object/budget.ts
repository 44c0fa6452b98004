/**
 * Memory that several files of one worker share. Each file may have one buffer of its own; for every further buffer it
 * waits here. No file waits for its first buffer, so files cannot deadlock.
 */
export class ByteBudget {
  readonly #capacity: number
  #used = 0
  readonly #waiting: { readonly bytes: number; readonly go: () => void }[] = []

  constructor(capacityBytes: number) {
    this.#capacity = capacityBytes
  }

  /**
   * Takes bytes if they are free and no other file is waiting. A request larger than the budget is granted when nothing
   * is in use.
   */
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
