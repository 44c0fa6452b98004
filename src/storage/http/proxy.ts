import { readFileSync } from 'node:fs'
import http from 'node:http'
import { isIP } from 'node:net'
import type { Duplex } from 'node:stream'
import tls from 'node:tls'
import { withCode, type Connector } from './connect.ts'

/** The proxy from the environment, used for TLS connections. */
export interface HttpProxy {
  /** `http://user:password@host:port`. May contain a secret. */
  readonly url: string
  /** NO_PROXY. @see isException */
  readonly exceptions: string
  /** NODE_EXTRA_CA_CERTS: certificates that are trusted of a proxy, in addition to those of Node. */
  readonly extraCaFile?: string
}

const CONNECT_MS = 30_000

interface ProxyConnector {
  readonly connector: Connector
  /** For a proxy that is reached by TLS; undefined: the certificates of Node. */
  readonly secureContext: tls.SecureContext | undefined
}

/**
 * What a proxy has to prove where the launcher of pgts has kept NODE_EXTRA_CA_CERTS from Node, which then does not know that
 * file. Node ignores a file that it cannot read.
 */
export function proxyContext({ extraCaFile }: HttpProxy): tls.SecureContext | undefined {
  if (extraCaFile === undefined) return undefined
  try {
    return tls.createSecureContext({ ca: [...tls.rootCertificates, readFileSync(extraCaFile, 'latin1')] })
  } catch {
    return undefined
  }
}

/**
 * Opens a connection through a proxy with CONNECT. TLS runs inside it, so the proxy cannot read the data.
 *
 * @param host an IPv6 address without brackets
 * @param by how the proxy is reached
 */
export function tunnel(proxy: URL, host: string, destinationPort: number, by: ProxyConnector): Promise<Duplex> {
  const target = `${host.includes(':') ? `[${host}]` : host}:${destinationPort}`
  const { username, password, hostname, port } = proxy
  const login = Buffer.from(`${decodeURIComponent(username)}:${decodeURIComponent(password)}`).toString('base64')
  const shown = `the proxy ${hostname}:${port}`
  return new Promise((resolve, reject) => {
    const request = http.request({
      createConnection: (_, created) => {
        void toProxy(proxy, by).then(
          (socket) => created(null, socket),
          (error: Error) => created(error, undefined as unknown as Duplex),
        )
        return undefined
      },
      method: 'CONNECT',
      path: target,
      headers: { host: target, ...(username === '' ? {} : { 'proxy-authorization': `Basic ${login}` }) },
    })
    request.setTimeout(CONNECT_MS, () => request.destroy(withCode('EHOSTUNREACH', `${shown} does not answer`)))
    request.once('error', reject)
    request.once('connect', (response, socket) => {
      request.setTimeout(0)
      if (response.statusCode === 200) return resolve(socket)
      socket.destroy()
      const why = `${response.statusCode ?? ''} ${response.statusMessage ?? ''}`.trim()
      reject(withCode('ECONNREFUSED', `${shown} refuses to connect to ${target}: ${why}`))
    })
    request.end()
  })
}

async function toProxy({ protocol, hostname, port }: URL, by: ProxyConnector): Promise<Duplex> {
  const { connector, secureContext } = by
  const secure = protocol === 'https:'
  const host = hostname.replace(/^\[(.*)\]$/, '$1')
  const socket = await connector.connect({ host, port: Number(port) || (secure ? 443 : 80), noDelay: true })
  return secure ? tls.connect({ socket, host, servername: isIP(host) === 0 ? host : '', secureContext }) : socket
}
