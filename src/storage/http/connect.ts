import { lookup as dnsLookup } from 'node:dns/promises'
import { connect, isIP, type Socket, type TcpNetConnectOpts } from 'node:net'
import { systemCode } from '../../util/error.ts'

export interface HostAddress {
  readonly address: string
  readonly family: number
}

/** Resolves all addresses of a host. */
export type Lookup = (host: string) => Promise<readonly HostAddress[]>

/** The next address is tried if the previous one has not answered for this long (RFC 8305). */
const STAGGER_MS = 250

/** Errors of a host without IPv6. An error of another address is reported rather than one of these. */
const NO_ROUTE = new Set(['ENETUNREACH', 'EHOSTUNREACH', 'EADDRNOTAVAIL', 'EAFNOSUPPORT'])

/**
 * TCP connections to hosts with several addresses. Node abandons an address after 250 ms and tries the next, so a
 * distant host with one dead address is never reached. Here the attempts continue in parallel, and the first connection
 * is used.
 */
export class Connector implements Disposable {
  readonly #timeoutMs: number
  readonly #lookup: Lookup
  /** Each call ends one pending attempt. */
  readonly #ends = new Set<() => void>()
  #disposed = false
  /** Host -> the address that was reached last, which is tried first. */
  readonly #reached = new Map<string, string>()

  /** @param timeoutMs an attempt to reach a host fails after this with EHOSTUNREACH */
  constructor(timeoutMs: number, lookup: Lookup = lookupAll) {
    this.#timeoutMs = timeoutMs
    this.#lookup = lookup
  }

  /** @throws Node's errors: of the lookup, or of one of the addresses */
  async connect(options: TcpNetConnectOpts & { readonly host: string }): Promise<Socket> {
    const { host } = options
    const found = isIP(host) === 0 ? await this.#lookup(host) : [{ address: host, family: isIP(host) }]
    const reached = this.#reached.get(host)
    const addresses = alternating(found).sort((a, b) => Number(b.address === reached) - Number(a.address === reached))
    const socket = await this.#race(options, addresses)
    if (addresses.length > 1 && socket.remoteAddress !== undefined) this.#reached.set(host, socket.remoteAddress)
    return socket
  }

  /** Ends the pending attempts. */
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
      const finish = (error: Error | undefined, winner?: Socket) => {
        clearTimeout(stagger)
        clearTimeout(deadline)
        this.#ends.delete(ended)
        for (const socket of attempts) if (socket !== winner) socket.destroy()
        if (winner === undefined) reject(error ?? withCode('ENOTFOUND', `${options.host} has no address`))
        else resolve(winner)
      }
      const ended = () => finish(withCode('ECONNABORTED', 'the connection is no longer needed'))
      const expired = () => finish(withCode('EHOSTUNREACH', `${options.host} does not answer`))
      const deadline = setTimeout(expired, this.#timeoutMs)
      this.#ends.add(ended)
      const next = () => {
        clearTimeout(stagger)
        const to = addresses[begun++]
        if (to === undefined) return attempts.size === 0 ? finish(failure) : undefined
        const socket = connect({ ...options, host: to.address, family: to.family })
        attempts.add(socket)
        // The other sockets of the race are destroyed, and may still report an error.
        socket.on('error', (error) => {
          if (failure === undefined || NO_ROUTE.has(systemCode(failure) ?? '')) failure = error
          if (attempts.delete(socket)) next()
        })
        socket.once('connect', () => finish(undefined, socket))
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

/** Alternates IPv6 and IPv4: if one of them has no route, all its addresses fail. */
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
