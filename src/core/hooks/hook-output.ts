/**
 * What a hook printed: beginning and end, of bounded size. Cut at line ends, because a part of a secret would not be
 * recognised where the log redacts secrets.
 */
export class HookOutput {
  readonly #half: number
  #head = Buffer.alloc(0)
  #tail = Buffer.alloc(0)
  #bytes = 0

  constructor(mostBytes: number) {
    this.#half = Math.floor(mostBytes / 2)
  }

  add(chunk: Buffer): void {
    this.#bytes += chunk.length
    const room = this.#half - this.#head.length
    if (room > 0) this.#head = Buffer.concat([this.#head, chunk.subarray(0, room)])
    if (chunk.length <= room) return
    const rest = chunk.subarray(Math.max(0, room))
    this.#tail = Buffer.concat([this.#tail, rest.subarray(-this.#half)]).subarray(-this.#half)
  }

  /** Without the newline at its end. */
  text(): string {
    const kept = this.#head.length + this.#tail.length
    if (kept === this.#bytes) return trimmed(Buffer.concat([this.#head, this.#tail]))
    const head = this.#head.subarray(0, this.#head.lastIndexOf(NEWLINE) + 1)
    const from = this.#tail.indexOf(NEWLINE)
    const tail = from === -1 ? Buffer.alloc(0) : this.#tail.subarray(from + 1)
    const left = this.#bytes - head.length - tail.length
    return [trimmed(head), `... ${left} bytes left out ...`, trimmed(tail)].filter((part) => part !== '').join('\n')
  }
}

const NEWLINE = 0x0a

function trimmed(bytes: Buffer): string {
  return bytes.toString('utf8').replace(/\n+$/, '')
}
