/** Lets the jobs of a thread do something one after the other, in the order in which they ask. */
export class Turns {
  readonly #waiting: (() => void)[] = []
  #isTaken = false

  /** @returns disposed to let the next one go on */
  async take(): Promise<Disposable> {
    if (this.#isTaken) await new Promise<void>((resolve) => this.#waiting.push(resolve))
    this.#isTaken = true
    return { [Symbol.dispose]: () => this.#pass() }
  }

  #pass(): void {
    const next = this.#waiting.shift()
    if (next === undefined) this.#isTaken = false
    else next()
  }
}
