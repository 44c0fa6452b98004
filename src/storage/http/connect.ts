import { lookup as dnsLookup } from 'node:dns/promises'
import { connect, isIP, type Socket, type TcpNetConnectOpts } from 'node:net'
import { systemCode } from '../../util/error.ts'

export interface HostAddress {
  readonly address: string
  readonly family: number
}

/** All addresses of a host. */
export type Lookup = (host: string) => Promise<readonly HostAddress[]>

/** The next address is tried when the one before has not answered for so long (RFC 8305). */
const STAGGER_MS = 250

/** Of a host without IPv6: says less than what another address answers. */
const NO_ROUTE = new Set(['ENETUNREACH', 'EHOSTUNREACH', 'EADDRNOTAVAIL', 'EAFNOSUPPORT'])

/**
 * Connections by TCP to hosts that may have several addresses. Node gives an address up after 250 ms before it tries the
 * next, so that a distant host with one dead address is never reached. Here the earlier attempts go on beside the later
 * ones, and the first connection is taken.
 */
export class Connector implements Disposable {
  readonly #timeoutMs: number
  readonly #lookup: Lookup
  /** End the attempts that are going on. */
  readonly #ends = new Set<() => void>()
  #disposed = false
  /** The address of a host that was connected to last is tried first. */
  readonly #reached = new Map<string, string>()

  /** @param timeoutMs an attempt to reach a host ends after this with ETIMEDOUT */
  constructor(timeoutMs: number, lookup: Lookup = lookupAll) {
    this.#timeoutMs = timeoutMs
    this.#lookup = lookup
  }

  /** @throws Node's errors: of the lookup, or of an address that failed */
  async connect(options: TcpNetConnectOpts & { readonly host: string }): Promise<Socket> {
    const { host } = options
    const found = isIP(host) === 0 ? await this.#lookup(host) : [{ address: host, family: isIP(host) }]
    const reached = this.#reached.get(host)
    const addresses = alternating(found).sort((a, b) => Number(b.address === reached) - Number(a.address === reached))
    const socket = await this.#race(options, addresses)
    if (addresses.length > 1 && socket.remoteAddress !== undefined) this.#reached.set(host, socket.remoteAddress)
    return socket
  }

  /** Ends the attempts that are going on. */
  [Symbol.dispose](): void {
    this.#disposed = true
    for (const end of this.#ends) end()
  }

  #race(options: TcpNetConnectOpts & { readonly host: string }, addresses: readonly HostAddress[]): Promise<Socket> {
    return new Promise((resolve, reject) => {
      const attempts = new Set<Socket>()
      let failure: Error | undefined
      let begun = 0
      let stagger: NodeJS.Timeout | undefined
      const settle = (error: Error | undefined, winner?: Socket) => {
        clearTimeout(stagger)
        clearTimeout(deadline)
        this.#ends.delete(ended)
        for (const socket of attempts) if (socket !== winner) socket.destroy()
        if (winner === undefined) reject(error ?? withCode('ENOTFOUND', `${options.host} has no address`))
        else resolve(winner)
      }
      const ended = () => settle(withCode('ECONNABORTED', 'the connection is not wanted any more'))
      const expired = () => settle(withCode('ETIMEDOUT', `${options.host} does not answer`))
      const deadline = setTimeout(expired, this.#timeoutMs)
      this.#ends.add(ended)
      const next = () => {
        clearTimeout(stagger)
        const to = addresses[begun++]
        if (to === undefined) return attempts.size === 0 ? settle(failure) : undefined
        const socket = connect({ ...options, host: to.address, family: to.family })
        attempts.add(socket)
        // The losers of the race are destroyed, and may still report an error.
        socket.on('error', (error) => {
          if (failure === undefined || NO_ROUTE.has(systemCode(failure) ?? '')) failure = error
          if (attempts.delete(socket)) next()
        })
        socket.once('connect', () => settle(undefined, socket))
        if (begun < addresses.length) stagger = setTimeout(next, STAGGER_MS)
      }
      if (this.#disposed) ended()
      else next()
    })
  }
}

async function lookupAll(host: string): Promise<readonly HostAddress[]> {
  return dnsLookup(host, { all: true, verbatim: true })
}

/** IPv6 and IPv4 in turn: where one of them leads nowhere, all its addresses do. */
function alternating(addresses: readonly HostAddress[]): HostAddress[] {
  const first = addresses.filter(({ family }) => family === addresses[0]?.family)
  const other = addresses.filter(({ family }) => family !== addresses[0]?.family)
  return Array.from({ length: Math.max(first.length, other.length) }, (_, i) => [first[i], other[i]])
    .flat()
    .filter((address) => address !== undefined)
}

export function withCode(code: string, message: string): Error {
  return Object.assign(new Error(message), { code })
}
