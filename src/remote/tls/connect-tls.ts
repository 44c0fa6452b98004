import { isIP } from 'node:net'
import { connect, type ConnectionOptions, type TLSSocket } from 'node:tls'
import { trustedCertificates } from '../../util/certificates.ts'
import { messageOf, PgtsError, systemCode } from '../../util/error.ts'
import { readKeyPair } from '../../util/key-pair.ts'

/** A `pgts server` and the files for it, as plain data: worker threads open connections, too. */
export interface TlsTarget {
  readonly host: string
  readonly port: number
  /** Absent, as `caPath`: the certificates that the system trusts. */
  readonly caFile?: string
  readonly caPath?: string
  readonly certFile: string
  readonly keyFile: string
  /** Begin of the options with these values, for hints: `repo1-host`. */
  readonly option: string
}

interface Limits {
  readonly ioTimeoutMs: number
  readonly signal?: AbortSignal
}

/** The lowest version of both ends. */
export const MIN_TLS_VERSION = 'TLSv1.2'

/** A network component forgets a silent connection after some minutes; a host without power does not answer. */
const KEEP_ALIVE_MS = 30_000
/** Node tries the next address of a host after this time (ms); its default of 250 ms is too short for a distant one. */
const NEXT_ADDRESS = { autoSelectFamilyAttemptTimeout: 2000 }

/**
 * Connects to a server whose certificate and host name are verified, with a certificate of this client.
 *
 * @throws PgtsError host-connect; crypto if the server's certificate is not valid; errors of the files
 */
export async function connectTls(target: TlsTarget, limits: Limits): Promise<TLSSocket> {
  const { host, port, option, certFile, keyFile } = target
  const certOption = `${option}-cert-file`
  const [{ ca }, { cert, key }] = await Promise.all([
    trustedCertificates(target, `${option}-ca-file`),
    readKeyPair({ certFile, keyFile, certOption, keyOption: `${option}-key-file` }),
  ])
  return handshake({ host, port, ca, cert, key }, limits)
}

/** Connects without verifying the server, and without a certificate of this client. @throws PgtsError host-connect; crypto */
export function connectUnverified(host: string, port: number, limits: Limits): Promise<TLSSocket> {
  return handshake({ host, port, rejectUnauthorized: false }, limits)
}

function handshake(
  options: ConnectionOptions & { readonly host: string; readonly port: number },
  { ioTimeoutMs, signal }: Limits,
): Promise<TLSSocket> {
  return new Promise((resolve, reject) => {
    const socket = connect({
      ...options,
      ...NEXT_ADDRESS,
      // A name that ends with a dot is valid for resolvers, but not in this field of TLS.
      servername: isIP(options.host) === 0 ? options.host.replace(/\.$/, '') : '',
      minVersion: MIN_TLS_VERSION,
    })
    socket.setNoDelay(true).setKeepAlive(true, KEEP_ALIVE_MS)
    let connected = false
    const fail = (error: unknown) => {
      clearTimeout(deadline)
      signal?.removeEventListener('abort', onAbort)
      socket.on('error', () => undefined).destroy()
      reject(error)
    }
    const onAbort = () => fail(signal?.reason)
    const deadline = setTimeout(() => {
      const what = connected ? 'TLS was not established' : 'no answer'
      fail(unreachable(options, `${what} within ${ioTimeoutMs / 1000} s (io-timeout)`))
    }, ioTimeoutMs)
    socket.once('connect', () => (connected = true))
    socket.once('error', (error) => fail(connected ? handshakeError(options, error) : unreachable(options, error)))
    socket.once('secureConnect', () => {
      clearTimeout(deadline)
      signal?.removeEventListener('abort', onAbort)
      socket.removeAllListeners('error')
      resolve(socket)
    })
    if (signal?.aborted === true) onAbort()
    else signal?.addEventListener('abort', onAbort, { once: true })
  })
}

interface Address {
  readonly host: string
  readonly port: number
}

function unreachable({ host, port }: Address, why: unknown): PgtsError {
  const reason = typeof why === 'string' ? why : messageOf(why)
  return new PgtsError('host-connect', `cannot connect to '${host}' port ${port}: ${reason}`, {
    hints: ['check that pgts server runs on that host, that it listens on this address and port, and the firewall'],
    cause: why,
  })
}

/** Errors of the network, not of TLS. */
const NETWORK = new Set(['ECONNRESET', 'EPIPE', 'ETIMEDOUT', 'ECONNABORTED', 'EHOSTUNREACH', 'ENETUNREACH'])

function handshakeError(address: Address, error: Error): PgtsError {
  if (NETWORK.has(systemCode(error) ?? '')) {
    return unreachable(address, 'the other end closed the connection before TLS was established')
  }
  const { host, port } = address
  return new PgtsError('crypto', `cannot establish TLS with '${host}' port ${port}: ${messageOf(error)}`, {
    hints: ["compare the host's name and authority with the certificate of the server (tls-server-cert-file)"],
    cause: error,
  })
}
