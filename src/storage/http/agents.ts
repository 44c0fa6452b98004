import http from 'node:http'
import https from 'node:https'
import net from 'node:net'
import tls from 'node:tls'
import type { Duplex } from 'node:stream'
import type { StoreAddress } from './address.ts'
import { trustedCertificates } from './certificates.ts'

/** How to reach a store, as plain data: which certificates to believe, and through whom. */
export interface HttpAccess {
  /** Check the certificate and name of the other side. */
  readonly verifyTls: boolean
  /** A file or a directory of certificates in PEM; they take the place of what the system trusts. */
  readonly caFile?: string
  readonly caPath?: string
  /** A connection on which nothing moves for so long is given up, milliseconds. */
  readonly stallMs: number
  /** `http://user:password@host:port` of a proxy that TLS goes through (CONNECT). Holds a secret, perhaps. */
  readonly proxy?: string
}

/** Sockets that stay open between requests; the last one used is used first, so that the others may be closed. */
export interface Agents extends Disposable {
  readonly http: http.Agent
  readonly https: https.Agent
  /**
   * Begin connections to a host that is about to be asked: their round trips pass while a library is being loaded, and
   * the first requests take them over. One that fails is forgotten, and told by the request that connects anew.
   */
  connectAhead(address: StoreAddress, count: number): void
}

/**
 * @param serverName whose certificate is expected, where it is not the host of the Host header that a request carries
 */
export async function openAgents(access: HttpAccess, serverName?: string): Promise<Agents> {
  // Connections are limited by how many requests there are, and that is decided above.
  const common = { keepAlive: true, maxFreeSockets: 256, scheduling: 'lifo', noDelay: true } as const
  const secure: https.AgentOptions = {
    ...common,
    ...(serverName === undefined ? {} : { servername: net.isIP(serverName) === 0 ? serverName : '' }),
    rejectUnauthorized: access.verifyTls,
    ...(access.verifyTls ? { secureContext: tls.createSecureContext(await trustedCertificates(access)) } : {}),
  }
  const agents = {
    http: new http.Agent(common),
    https: access.proxy === undefined ? new AheadAgent(secure) : new TunnelAgent(secure, new URL(access.proxy)),
  }
  return {
    ...agents,
    connectAhead(address, count) {
      // Through a proxy a connection is a request of its own.
      if (address.secure && agents.https instanceof AheadAgent) agents.https.begin(address, count)
    },
    [Symbol.dispose]() {
      agents.http.destroy()
      agents.https.destroy()
    },
  }
}

/** Has connections that were begun before there was a request. */
class AheadAgent extends https.Agent {
  readonly #ready = new Map<string, Set<Duplex>>()

  begin({ host, port }: StoreAddress, count: number): void {
    const servername = this.options.servername ?? (net.isIP(host) === 0 ? host : '')
    const ready = this.#of(host, port)
    for (let i = 0; i < count; i++) {
      const socket = super.createConnection({ ...this.options, host, port, servername })
      if (!(socket instanceof tls.TLSSocket)) return
      ready.add(socket)
      socket.unref()
      // Only who reads hears that the other side has closed; before a request nothing else comes.
      socket.resume()
      socket.on('error', () => undefined)
      socket.once('close', () => ready.delete(socket))
    }
  }

  override createConnection(options: tls.ConnectionOptions, created?: Created): Duplex | null | undefined {
    const ready = this.#of(String(options.host), Number(options.port))
    for (const socket of ready) {
      ready.delete(socket)
      if (socket.destroyed || !(socket instanceof tls.TLSSocket)) continue
      socket.ref()
      return socket
    }
    return super.createConnection(options as https.RequestOptions, created)
  }

  override destroy(): void {
    for (const ready of this.#ready.values()) for (const socket of ready) socket.destroy()
    super.destroy()
  }

  #of(host: string, port: number): Set<Duplex> {
    const key = `${host}:${port}`
    let ready = this.#ready.get(key)
    if (ready === undefined) this.#ready.set(key, (ready = new Set()))
    return ready
  }
}

type Created = (error: Error | null, socket: Duplex) => void

/** Reaches every host through a proxy, which passes on the bytes of TLS and sees none of what they say. */
class TunnelAgent extends https.Agent {
  readonly #proxy: URL

  constructor(options: https.AgentOptions, proxy: URL) {
    super(options)
    this.#proxy = proxy
  }

  override createConnection(options: tls.ConnectionOptions, created: Created): undefined {
    const { username, password, hostname, port, protocol } = this.#proxy
    const target = `${String(options.host)}:${String(options.port)}`
    const login = Buffer.from(`${decodeURIComponent(username)}:${decodeURIComponent(password)}`).toString('base64')
    const request = (protocol === 'https:' ? https : http).request({
      host: hostname.replace(/^\[(.*)\]$/, '$1'),
      port: port || (protocol === 'https:' ? 443 : 80),
      method: 'CONNECT',
      path: target,
      agent: false,
      headers: { host: target, ...(username === '' ? {} : { 'proxy-authorization': `Basic ${login}` }) },
    })
    const shown = `the proxy ${hostname}:${port}`
    const fail = (error: Error) => created(error, undefined as unknown as Duplex)
    request.setTimeout(CONNECT_MS, () => request.destroy(withCode('ETIMEDOUT', `${shown} does not answer`)))
    request.once('error', fail)
    request.once('connect', (response, socket) => {
      request.setTimeout(0)
      if (response.statusCode === 200) return created(null, tls.connect({ ...options, socket }))
      socket.destroy()
      const why = `${response.statusCode ?? ''} ${response.statusMessage ?? ''}`.trim()
      fail(withCode('ECONNREFUSED', `${shown} refuses to connect to ${target}: ${why}`))
    })
    request.end()
    return undefined
  }
}

const CONNECT_MS = 30_000

function withCode(code: string, message: string): Error {
  return Object.assign(new Error(message), { code })
}
