import type { Socket } from 'node:net'
import type { NetworkFaults } from './network-proxy.ts'

const DEFAULT_WINDOW_BYTES = 1024 * 1024

interface Travelling {
  readonly arrivesAtMs: number
  readonly arrive: () => void
}

/** One direction of a connection: every piece is forwarded after its delay, in order. */
export class Pipe {
  readonly #travelling: Travelling[] = []
  #timer: NodeJS.Timeout | undefined
  #flyingBytes = 0
  /** Arrival time of the last piece so far; no later piece arrives earlier. */
  #lastArrivalMs: number
  #broken = false

  /**
   * @param openAtMs before this time nothing arrives, because the connection is not open yet
   * @param pass returns the bytes to forward; undefined: none any more, and the sockets stay open
   */
  constructor(
    readonly from: Socket,
    readonly to: Socket,
    readonly faults: () => NetworkFaults,
    openAtMs: number,
    readonly pass: (bytes: Buffer) => Buffer | undefined,
  ) {
    this.#lastArrivalMs = openAtMs
    from.on('data', (bytes: Buffer) => this.#send(bytes))
    from.on('end', () => this.#travel(() => this.to.end()))
    from.on('error', () => this.#travel(() => this.to.resetAndDestroy()))
    to.on('drain', () => this.#flow())
  }

  #send(bytes: Buffer): void {
    const { latencyMs = 0, jitterMs = 0, bytesPerSecond } = this.faults()
    const earliest = performance.now() + latencyMs + Math.random() * jitterMs
    const sendingMs = bytesPerSecond === undefined ? 0 : (bytes.length / bytesPerSecond) * 1000
    this.#lastArrivalMs = Math.max(earliest, this.#lastArrivalMs) + sendingMs
    this.#flyingBytes += bytes.length
    this.#travel(() => {
      this.#flyingBytes -= bytes.length
      const passed = this.pass(bytes)
      if (passed === undefined) this.#broken = true
      else if (this.to.writable) this.to.write(passed)
    })
    this.#flow()
  }

  /** Run this after everything before it has arrived. */
  #travel(arrive: () => void): void {
    this.#travelling.push({ arrivesAtMs: this.#lastArrivalMs, arrive })
    if (this.#travelling.length === 1) this.#arrivals()
  }

  #arrivals(): void {
    clearTimeout(this.#timer)
    const nowMs = performance.now()
    for (let next = this.#travelling[0]; next !== undefined; next = this.#travelling[0]) {
      if (next.arrivesAtMs > nowMs) {
        this.#timer = setTimeout(() => this.#arrivals(), Math.ceil(next.arrivesAtMs - nowMs))
        break
      }
      if (!this.#broken) next.arrive()
      this.#travelling.shift()
    }
    this.#flow()
  }

  /** Read more if the window has space. */
  #flow(): void {
    const { windowBytes = DEFAULT_WINDOW_BYTES } = this.faults()
    if (this.#broken || this.to.writableNeedDrain || this.#flyingBytes >= windowBytes) this.from.pause()
    else this.from.resume()
  }
}
