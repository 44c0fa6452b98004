import { RetryableStoreError } from '../object/retryable-error.ts'
import { messageOf, OPEN_FILES_HINT, PgtsError, systemCode } from '../../util/error.ts'
import { UnprovenAnswer } from './unproven-answer.ts'

/**
 * Converts the error that prevented an answer. A certificate error is final; all other errors are retryable.
 *
 * @param action the failed action: `cannot read x on azure://...`
 * @param error of a socket, of TLS, of the resolver, or of a body that ended early
 * @param repository prefix of the options of the repository: `repo1`
 */
export function networkError(action: string, error: unknown, repository = 'repo'): PgtsError {
  if (error instanceof PgtsError) return error
  if (error instanceof UnprovenAnswer)
    return new RetryableStoreError(`${action}: ${error.message}`, { hints: [error.hint] })
  const code = systemCode(error)
  const why = (code !== undefined && MEANINGS[code]) || messageOf(error)
  const message = `${action}: ${why}`
  // An SDK error contains the whole request with its authorization, so only its message and code are kept.
  const cause = Object.assign(new Error(messageOf(error)), code === undefined ? {} : { code })
  if (code !== undefined && CERTIFICATE.has(code)) {
    const hints = [
      code === 'ERR_TLS_CERT_ALTNAME_INVALID'
        ? 'the certificate is for another name: check the endpoint, the host and the uri-style of the repository'
        : `set ${repository}-storage-ca-file or ${repository}-storage-ca-path to the certificate of the authority that signed it`,
      'check the clock of this host if the certificate should be valid',
    ].slice(0, code === 'CERT_HAS_EXPIRED' || code === 'CERT_NOT_YET_VALID' ? 2 : 1)
    return new PgtsError('service', message, { hints, cause })
  }
  const hints = code === undefined ? undefined : HINTS[code]
  return new RetryableStoreError(message, {
    code: code !== undefined && UNREACHABLE.has(code) ? 'host-connect' : 'service',
    hints: hints === undefined ? undefined : [hints],
    cause,
  })
}

/** There is no connection: [049], as in pgBackRest. */
const UNREACHABLE = new Set(['EAI_AGAIN', 'ECONNREFUSED', 'EHOSTUNREACH', 'ENETUNREACH', 'ENOTFOUND'])

const CERTIFICATE = new Set([
  'CERT_HAS_EXPIRED',
  'CERT_NOT_YET_VALID',
  'CERT_REVOKED',
  'CERT_UNTRUSTED',
  'CERT_SIGNATURE_FAILURE',
  'DEPTH_ZERO_SELF_SIGNED_CERT',
  'ERR_TLS_CERT_ALTNAME_INVALID',
  'HOSTNAME_MISMATCH',
  'INVALID_CA',
  'INVALID_PURPOSE',
  'SELF_SIGNED_CERT_IN_CHAIN',
  'UNABLE_TO_GET_ISSUER_CERT',
  'UNABLE_TO_GET_ISSUER_CERT_LOCALLY',
  'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
  'UNABLE_TO_VERIFY_LEAF_CERTIFICATE',
])

const MEANINGS: Record<string, string> = {
  ECONNREFUSED: 'connection refused',
  ECONNRESET: 'the connection was closed by the server',
  EPIPE: 'the connection was closed by the server',
  ETIMEDOUT: 'timeout',
  EMFILE: 'this process has too many open files',
  ENFILE: 'the system has too many open files',
  EHOSTUNREACH: 'the host cannot be reached',
  ENETUNREACH: 'the network cannot be reached',
  ENOTFOUND: 'the host name cannot be resolved',
  EAI_AGAIN: 'the name server does not answer',
  EPROTO: 'the server does not use TLS, or no supported version of it',
  CERT_HAS_EXPIRED: 'the certificate of the store has expired',
  CERT_NOT_YET_VALID: 'the certificate of the store is not valid yet',
  CERT_REVOKED: 'the certificate of the store was revoked',
  DEPTH_ZERO_SELF_SIGNED_CERT: 'the certificate of the store is self-signed',
  SELF_SIGNED_CERT_IN_CHAIN: 'the certificate of the store is signed by an authority that is not trusted',
  UNABLE_TO_GET_ISSUER_CERT: 'the certificate of the store is signed by an authority that is not trusted',
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: 'the certificate of the store is signed by an authority that is not trusted',
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: 'the certificate of the store is signed by an authority that is not trusted',
}

const HINTS: Record<string, string> = {
  ECONNREFUSED: 'check the endpoint, host and port of the repository',
  ENOTFOUND: 'check the endpoint, host and uri-style of the repository, and DNS on this host',
  EAI_AGAIN: 'check DNS on this host',
  EMFILE: OPEN_FILES_HINT,
  ENFILE: OPEN_FILES_HINT,
  EPROTO:
    'check whether the port uses TLS; without TLS, put http:// in front of the endpoint or host of the repository',
}
