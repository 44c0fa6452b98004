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
}

const CONNECT_MS = 30_000

/**
 * Opens a connection through a proxy with CONNECT. TLS runs inside it, so the proxy cannot read the data.
 *
 * @param host an IPv6 address without brackets
 */
export function tunnel(proxy: URL, host: string, destinationPort: number, connector: Connector): Promise<Duplex> {
  const target = `${host.includes(':') ? `[${host}]` : host}:${destinationPort}`
  const { username, password, hostname, port } = proxy
  const login = Buffer.from(`${decodeURIComponent(username)}:${decodeURIComponent(password)}`).toString('base64')
  const shown = `the proxy ${hostname}:${port}`
  return new Promise((resolve, reject) => {
    const request = http.request({
      createConnection: (_, created) => {
        void toProxy(proxy, connector).then(
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

/** By TLS with the certificates that Node trusts, in which bin/pgts changes nothing for such a proxy. */
async function toProxy({ protocol, hostname, port }: URL, connector: Connector): Promise<Duplex> {
  const secure = protocol === 'https:'
  const host = hostname.replace(/^\[(.*)\]$/, '$1')
  const socket = await connector.connect({ host, port: Number(port) || (secure ? 443 : 80), noDelay: true })
  return secure ? tls.connect({ socket, host, servername: isIP(host) === 0 ? host : '' }) : socket
}
