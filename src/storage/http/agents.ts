import http from 'node:http'
import https from 'node:https'
import net from 'node:net'
import tls from 'node:tls'
import type { Duplex } from 'node:stream'
import type { StoreAddress } from './address.ts'
import { trustedCertificates } from './certificates.ts'
import { Connector, type Lookup } from './connect.ts'
import { isException } from './proxy-exceptions.ts'
import { tunnel, type HttpProxy } from './proxy.ts'

/** How to reach a store, as plain data: which certificates to believe, and through whom. */
export interface HttpAccess {
  /** Check the certificate and name of the other side. */
  readonly verifyTls: boolean
  /** A file or a directory of certificates in PEM; they take the place of what the system trusts. */
  readonly caFile?: string
  readonly caPath?: string
  /** A connection on which nothing moves for so long is given up, milliseconds. */
  readonly stallMs: number
  /** Decided for each host: services that give credentials are elsewhere than the store. */
  readonly proxy?: HttpProxy
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
 * @param lookup of the addresses of hosts; absent: the system's
 */
export async function openAgents(access: HttpAccess, serverName?: string, lookup?: Lookup): Promise<Agents> {
  // Connections are limited by how many requests there are, and that is decided above.
  const common = { keepAlive: true, maxFreeSockets: 256, scheduling: 'lifo', noDelay: true } as const
  const secure: https.AgentOptions = {
    ...common,
    servername: serverName === undefined ? undefined : net.isIP(serverName) === 0 ? serverName : '',
    rejectUnauthorized: access.verifyTls,
    secureContext: access.verifyTls ? tls.createSecureContext(await trustedCertificates(access)) : undefined,
  }
  const connector = new Connector(access.stallMs, lookup)
  const plainAgent = new PlainAgent(common, connector)
  const secureAgent = new SecureAgent(secure, connector, access.proxy)
  return {
    http: plainAgent,
    https: secureAgent,
    connectAhead(address, count) {
      if (address.secure) secureAgent.begin(address, count)
    },
    [Symbol.dispose]() {
      connector[Symbol.dispose]()
      plainAgent.destroy()
      secureAgent.destroy()
    },
  }
}

class PlainAgent extends http.Agent {
  readonly #connector: Connector

  constructor(options: http.AgentOptions, connector: Connector) {
    super(options)
    this.#connector = connector
  }

  override createConnection(options: http.ClientRequestArgs, created: Created): undefined {
    answer(this.#connector.connect(targetOf(options)), created)
  }
}

/** Reaches hosts by TLS, some through a proxy, and has connections that were begun before there was a request. */
class SecureAgent extends https.Agent {
  readonly #connector: Connector
  readonly #proxy: HttpProxy | undefined
  readonly #ready = new Map<string, Set<Promise<tls.TLSSocket>>>()

  constructor(options: https.AgentOptions, connector: Connector, proxy: HttpProxy | undefined) {
    super(options)
    this.#connector = connector
    this.#proxy = proxy
  }

  begin({ host, port }: StoreAddress, count: number): void {
    // Through a proxy a connection is a request of its own.
    if (this.#proxyTo(host, port) !== undefined) return
    const servername = this.options.servername ?? (net.isIP(host) === 0 ? host : '')
    const ready = this.#of(host, port)
    for (let i = 0; i < count; i++) {
      const forget = () => ready.delete(pending)
      const pending = this.#connect({ ...this.options, host, port, servername }).then((socket) => {
        socket.unref()
        // Only who reads hears that the other side has closed; before a request nothing else comes.
        socket.resume()
        socket.on('error', () => undefined)
        socket.once('close', forget)
        return socket
      })
      ready.add(pending)
      pending.catch(forget)
    }
  }

  override createConnection(options: tls.ConnectionOptions, created: Created): undefined {
    answer(this.#open(options), created)
  }

  override destroy(): void {
    for (const ready of this.#ready.values()) {
      for (const pending of ready) void pending.then((socket) => socket.destroy()).catch(() => undefined)
    }
    super.destroy()
  }

  async #open(options: tls.ConnectionOptions): Promise<tls.TLSSocket> {
    const ready = this.#of(String(options.host), Number(options.port))
    for (const pending of ready) {
      ready.delete(pending)
      const socket = await pending.catch(() => undefined)
      if (socket === undefined || socket.destroyed) continue
      socket.ref()
      return socket
    }
    return this.#connect(options)
  }

  async #connect(options: tls.ConnectionOptions): Promise<tls.TLSSocket> {
    const target = targetOf(options)
    const proxy = this.#proxyTo(target.host, target.port)
    const socket =
      proxy === undefined
        ? await this.#connector.connect(target)
        : await tunnel(proxy, target.host, target.port, this.#connector)
    return super.createConnection({ ...options, socket } as https.RequestOptions) as tls.TLSSocket
  }

  #proxyTo(host: string, port: number): URL | undefined {
    const proxy = this.#proxy
    return proxy === undefined || isException(proxy.exceptions, host, port) ? undefined : new URL(proxy.url)
  }

  #of(host: string, port: number): Set<Promise<tls.TLSSocket>> {
    const key = `${host}:${port}`
    let ready = this.#ready.get(key)
    if (ready === undefined) this.#ready.set(key, (ready = new Set()))
    return ready
  }
}

type Created = (error: Error | null, socket: Duplex) => void

function answer(socket: Promise<Duplex>, created: Created): void {
  socket.then(
    (connected) => created(null, connected),
    (error: Error) => created(error, undefined as unknown as Duplex),
  )
}

function targetOf(options: tls.ConnectionOptions | http.ClientRequestArgs) {
  const { host, port, keepAlive, keepAliveInitialDelay } = options as net.TcpNetConnectOpts
  return {
    host: String(host),
    port: Number(port),
    noDelay: true,
    keepAlive,
    keepAliveInitialDelay,
  }
}
