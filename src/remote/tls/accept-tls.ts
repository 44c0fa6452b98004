import type { Socket } from 'node:net'
import { createServer, type TLSSocket } from 'node:tls'
import { PgtsError, systemCode } from '../../util/error.ts'
import { MIN_TLS_VERSION } from './connect-tls.ts'

/** Contents of the files of a server, in PEM format. */
export interface ServerCertificates {
  /** Authorities that sign certificates of clients. */
  readonly ca: readonly string[]
  readonly cert: string
  readonly key: string
}

/** Who is at the other end: the one common name of a verified certificate, or why there is none. */
export type PeerIdentity =
  | { readonly kind: 'verified'; readonly name: string }
  | { readonly kind: 'none' }
  | { readonly kind: 'invalid'; readonly reason: string }

/**
 * The handshake of the serving end. A client without a valid certificate is accepted: it may ping, and its requests get
 * an error that says why.
 *
 * @param socket of which nothing was read
 * @returns undefined if the client closed the connection: checks of a port do that
 * @throws PgtsError protocol if the handshake fails
 */
export function acceptTls(
  socket: Socket,
  { ca, cert, key }: ServerCertificates,
  timeoutMs: number,
): Promise<TLSSocket | undefined> {
  return new Promise((resolve, reject) => {
    const server = createServer({
      ca: [...ca],
      cert,
      key,
      minVersion: MIN_TLS_VERSION,
      requestCert: true,
      rejectUnauthorized: false,
      handshakeTimeout: timeoutMs,
    })
    server.once('secureConnection', (secure) => {
      secure.setNoDelay(true).setKeepAlive(true, 30_000)
      resolve(secure)
    })
    server.once('tlsClientError', (error) => {
      socket.destroy()
      if (systemCode(error) === 'ECONNRESET') resolve(undefined)
      else reject(new PgtsError('protocol', `the TLS handshake failed: ${error.message}`, { cause: error }))
    })
    server.emit('connection', socket)
  })
}

export function identityOf(socket: TLSSocket): PeerIdentity {
  const { subject } = socket.getPeerCertificate()
  if (subject === undefined) return { kind: 'none' }
  // Without an error Node sets no text although its types have one.
  if (!socket.authorized) return { kind: 'invalid', reason: reasonOf(socket.authorizationError) }
  // The types of Node lack the list of a subject with several names.
  const name = subject.CN as string | readonly string[] | undefined
  return typeof name === 'string' && name !== ''
    ? { kind: 'verified', name }
    : { kind: 'invalid', reason: 'its subject must have exactly one common name (CN)' }
}

function reasonOf(error: unknown): string {
  const code = error instanceof Error ? error.message : String(error)
  return REASONS[code] ?? code
}

const REASONS: Readonly<Record<string, string>> = {
  CERT_HAS_EXPIRED: 'it has expired',
  CERT_NOT_YET_VALID: 'it is not valid yet',
  DEPTH_ZERO_SELF_SIGNED_CERT: 'it is signed by itself',
  INVALID_PURPOSE: 'it is not a certificate for clients',
  SELF_SIGNED_CERT_IN_CHAIN: 'its authority is not trusted',
  UNABLE_TO_GET_ISSUER_CERT: 'its authority is not trusted',
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: 'its authority is not trusted',
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: 'its authority is not trusted',
}
