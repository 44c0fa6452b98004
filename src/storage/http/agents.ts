import http from 'node:http'
import https from 'node:https'
import net from 'node:net'
import tls from 'node:tls'
import type { Duplex } from 'node:stream'
import { trustedCertificates } from '../../util/certificates.ts'
import type { StoreAddress } from './address.ts'
import { Connector, type Lookup } from './connect.ts'
import { isException } from './proxy-exceptions.ts'
import { tunnel, type HttpProxy } from './proxy.ts'

/** Connection settings of a store as plain data: trusted certificates, timeout, proxy. */
export interface HttpAccess {
  /** Check the certificate and the host name of the server. */
  readonly verifyTls: boolean
  /** A file or a directory of PEM certificates; they replace the certificates that the system trusts. */
  readonly caFile?: string
  readonly caPath?: string
  /** A connection without any transfer for this long is closed, milliseconds. */
  readonly stallMs: number
  /** The proxy is decided per host: services that issue credentials have other hosts than the store. */
  readonly proxy?: HttpProxy
}

/** Keep-alive sockets; the last used one is used first, so that the others become idle and close. */
export interface Agents extends Disposable {
  readonly http: http.Agent
  readonly https: https.Agent
  /**
   * Opens connections to a host that will be used soon: they connect while a library is being loaded, and the first
   * requests take them. A failed connection is dropped; the request then connects again and reports the error.
   */
  connectAhead(address: StoreAddress, count: number): void
}

export interface AgentsOptions {
  /** Host of the expected certificate, if it differs from the Host header of the requests. */
  readonly serverName?: string
  /** Resolves host names; absent: the system's resolver. */
  readonly lookup?: Lookup
  /** Connect to every server, also if its certificate is not valid. */
  readonly acceptAny?: boolean
}

export async function openAgents(access: HttpAccess, options: AgentsOptions = {}): Promise<Agents> {
  const { serverName, lookup, acceptAny = false } = options
  // The callers limit the number of requests, and so the number of connections.
  const common = { keepAlive: true, maxFreeSockets: 256, scheduling: 'lifo', noDelay: true } as const
  const secure: https.AgentOptions = {
    ...common,
    servername: serverName === undefined ? undefined : net.isIP(serverName) === 0 ? serverName : '',
    rejectUnauthorized: access.verifyTls && !acceptAny,
    // What is verified has a list of its own: bin/pgts starts Node without the certificates of Node.
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

/** Connects by TLS, through a proxy where configured, and uses connections that were opened ahead. */
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
    // A connection through a proxy starts with a CONNECT request, so it is not opened ahead.
    if (this.#proxyTo(host, port) !== undefined) return
    const servername = this.options.servername ?? (net.isIP(host) === 0 ? host : '')
    const ready = this.#of(host, port)
    for (let i = 0; i < count; i++) {
      const forget = () => ready.delete(pending)
      const pending = this.#connect({ ...this.options, host, port, servername }).then((socket) => {
        socket.unref()
        // Only a flowing socket reports that the server closed it; before a request no data arrives.
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
