import { createServer, type AddressInfo, type Socket } from 'node:net'
import { PgtsError, systemCode } from '../../util/error.ts'
import type { Logger } from '../../util/log.ts'

export interface ListenAddress {
  /** `*`: all addresses. */
  readonly host: string
  readonly port: number
}

export interface Listener extends Disposable {
  readonly address: ListenAddress
}

/**
 * Accepts connections, and reads nothing from them.
 *
 * @throws PgtsError host-connect
 */
export function listen(address: ListenAddress, onSocket: (socket: Socket) => void, log: Logger): Promise<Listener> {
  const { host, port } = address
  const server = createServer({ pauseOnConnect: true }, onSocket)
  return new Promise((resolve, reject) => {
    server.once('error', (error) => reject(cannotListen(error, address)))
    // Without a host Node listens on all addresses of both families that the system has.
    server.listen({ port, host: host === '*' ? undefined : host }, () => {
      server.removeAllListeners('error')
      // For example no free file descriptor.
      server.on('error', (error) => log.error(`cannot accept a connection: ${error.message}`))
      const at = server.address() as AddressInfo
      log.info(`listening on ${at.family === 'IPv6' ? `[${at.address}]` : at.address} port ${at.port}`)
      resolve({ address, [Symbol.dispose]: () => void server.close() })
    })
  })
}

function cannotListen(error: Error, { host, port }: ListenAddress): PgtsError {
  const hint =
    systemCode(error) === 'EADDRINUSE'
      ? 'another program listens there: set another tls-server-port'
      : 'set tls-server-address to an address of this host, or to * for all'
  return new PgtsError('host-connect', `cannot listen on '${host}' port ${port}: ${error.message}`, {
    hints: [hint],
    cause: error,
  })
}
