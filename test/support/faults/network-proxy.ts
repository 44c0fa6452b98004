import { createServer, connect, type AddressInfo, type Server, type Socket } from 'node:net'
import { Pipe } from './network-pipe.ts'

/** Properties of the network between client and server; may be changed at any time. Each way: also the way back. */
export interface NetworkFaults {
  /** Each way, milliseconds: a round trip takes twice as long, and so does it to connect. Default 0. */
  readonly latencyMs?: number
  /** Added to the latency of every piece, from 0 to this many milliseconds; the order of bytes stays. */
  readonly jitterMs?: number
  /** For each way and connection; absent: unlimited. */
  readonly bytesPerSecond?: number
  /** Bytes in flight in one direction of a connection, like the window of TCP. Default 1 MiB. */
  readonly windowBytes?: number
  /** This share of new connections is reset before a byte has passed: 0.25 is every fourth. */
  readonly refuseShare?: number
  readonly strike?: Strike
}

/** A connection gets a fault at a certain byte, counted over all connections. */
export interface Strike {
  /** `up` is to the server, `down` is from it. */
  readonly direction: 'up' | 'down'
  /** A fault each time that this number of bytes has passed in that direction since the last one. */
  readonly everyBytes: number
  /**
   * - `reset`: both sides get a reset;
   * - `close`: both sides get an ordinary end, in the middle of a message;
   * - `stall`: the connection stays open and transfers nothing any more;
   * - `flip`: one bit of that byte is wrong.
   */
  readonly how: 'reset' | 'close' | 'stall' | 'flip'
  /** At most this number of times; absent: always. */
  readonly times?: number
}

/** Counters, with which a test checks that its fault was reached. */
export interface NetworkCounters {
  connections: number
  refused: number
  upBytes: number
  downBytes: number
  struck: number
}

/** A slow or faulty network as a TCP proxy on 127.0.0.1, which does not interpret TLS or HTTP. */
export class NetworkProxy implements AsyncDisposable {
  readonly counters: NetworkCounters = { connections: 0, refused: 0, upBytes: 0, downBytes: 0, struck: 0 }
  readonly #server: Server
  readonly #sockets = new Set<Socket>()
  #faults: NetworkFaults
  #sinceStrikeBytes = 0

  private constructor(
    readonly target: { readonly host: string; readonly port: number },
    faults: NetworkFaults,
  ) {
    this.#faults = faults
    this.#server = createServer({ allowHalfOpen: true, noDelay: true }, (client) => this.#accept(client))
  }

  /** @param port where to listen; 0 takes a free one */
  static async start(
    target: { readonly host: string; readonly port: number },
    faults: NetworkFaults = {},
    port = 0,
  ): Promise<NetworkProxy> {
    const proxy = new NetworkProxy(target, faults)
    await new Promise<void>((resolve, reject) => {
      proxy.#server.once('error', reject)
      proxy.#server.listen(port, '127.0.0.1', resolve)
    })
    return proxy
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port
  }

  get faults(): NetworkFaults {
    return this.#faults
  }

  /** Applies to bytes that arrive from now on, also on open connections. A new fault resets its counters. */
  set(faults: NetworkFaults): void {
    this.#faults = faults
    this.#sinceStrikeBytes = 0
    this.counters.struck = 0
  }

  #accept(client: Socket): void {
    const { counters } = this
    counters.connections++
    this.#keep(client)
    const { refuseShare = 0 } = this.#faults
    if (Math.floor(counters.connections * refuseShare) > Math.floor((counters.connections - 1) * refuseShare)) {
      counters.refused++
      client.resetAndDestroy()
      return
    }
    const server = connect({ ...this.target, noDelay: true, allowHalfOpen: true })
    this.#keep(server)
    // The kernel accepts the client at once; over a real network that takes a round trip before the first bytes.
    const openAtMs = performance.now() + 3 * (this.#faults.latencyMs ?? 0)
    // A fault of one direction ends the other direction, too.
    let stopped = false
    const pass = (direction: 'up' | 'down') => (bytes: Buffer) => {
      const passed = stopped ? undefined : this.#pass(direction, bytes, client, server)
      stopped = passed === undefined
      return passed
    }
    new Pipe(client, server, () => this.#faults, openAtMs, pass('up'))
    new Pipe(server, client, () => this.#faults, openAtMs, pass('down'))
  }

  /** Count the bytes, and apply a fault when it is due. @returns the bytes to forward; undefined if the connection has ended */
  #pass(direction: 'up' | 'down', bytes: Buffer, client: Socket, server: Socket): Buffer | undefined {
    this.counters[direction === 'up' ? 'upBytes' : 'downBytes'] += bytes.length
    const { strike } = this.#faults
    if (strike?.direction !== direction || this.counters.struck >= (strike.times ?? Infinity)) return bytes
    this.#sinceStrikeBytes += bytes.length
    if (this.#sinceStrikeBytes < strike.everyBytes) return bytes
    const at = bytes.length - 1 - (this.#sinceStrikeBytes - strike.everyBytes)
    this.#sinceStrikeBytes = 0
    this.counters.struck++
    switch (strike.how) {
      case 'reset':
        client.resetAndDestroy()
        server.resetAndDestroy()
        return undefined
      case 'close':
        // The bytes before it still arrive, so that the other side receives a truncated answer.
        ;(direction === 'up' ? server : client).end(bytes.subarray(0, at))
        ;(direction === 'up' ? client : server).end()
        return undefined
      case 'stall':
        return undefined
      case 'flip': {
        const flipped = Buffer.from(bytes)
        flipped[at] = (flipped[at] ?? 0) ^ 0x10
        return flipped
      }
    }
  }

  #keep(socket: Socket): void {
    this.#sockets.add(socket)
    socket.once('close', () => this.#sockets.delete(socket))
    socket.on('error', () => undefined) // the pipe reports it to the other side
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const closed = new Promise((resolve) => this.#server.close(resolve))
    for (const socket of this.#sockets) socket.destroy()
    await closed
  }
}
