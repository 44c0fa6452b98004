import { systemClock, type Clock } from '../../util/clock.ts'
import { systemCode } from '../../util/error.ts'
import { jsonObject } from '../../util/is-object.ts'
import { networkError } from '../http/network-error.ts'
import { readBody, type HttpSend } from '../http/send.ts'
import { UnprovenAnswer } from '../http/unproven-answer.ts'
import { RefusedRequestError, RetryableStoreError } from '../object/retryable-error.ts'
import type { ManagedIdentity } from './description.ts'

/** The SDK's type `TokenCredential`. */
export interface TokenSource {
  getToken(scopes: string | string[], options?: { abortSignal?: unknown }): Promise<AccessToken>
}

export interface AccessToken {
  readonly token: string
  /** Milliseconds since the epoch. */
  readonly expiresOnTimestamp: number
}

/** The instance metadata service of a virtual machine, the same address on each. */
const METADATA_SERVICE = 'http://169.254.169.254/metadata/identity/oauth2/token'

/**
 * A token is replaced this long before it expires, so that a request that uses it can still finish, retries included.
 */
const REFRESH_BEFORE_MS = 5 * 60_000

/**
 * Tokens for the identity that Azure assigned to this machine, container or app. A token is cached until shortly before
 * it expires; concurrent calls share one request.
 *
 * @param resource the audience of the token: `https://account.blob.core.windows.net`
 * @param repository prefix of its options, for hints: `repo1`
 * @see https://learn.microsoft.com/entra/identity/managed-identities-azure-resources/how-to-use-vm-token
 */
export function managedIdentity(
  send: HttpSend,
  resource: string,
  repository: string,
  identity: ManagedIdentity,
  clock: Clock = systemClock,
): TokenSource {
  let kept: AccessToken | undefined
  let pending: Promise<AccessToken> | undefined
  return {
    getToken() {
      if (kept !== undefined && kept.expiresOnTimestamp - REFRESH_BEFORE_MS > clock.nowMs())
        return Promise.resolve(kept)
      pending ??= fetchToken(send, resource, repository, clock, identity)
        .then((token) => (kept = token))
        .finally(() => (pending = undefined))
      return pending
    },
  }
}

async function fetchToken(
  send: HttpSend,
  resource: string,
  repository: string,
  clock: Clock,
  identity: ManagedIdentity,
): Promise<AccessToken> {
  const action = 'cannot get a token for the managed identity of this machine'
  const url = new URL(identity.service?.endpoint ?? METADATA_SERVICE)
  url.searchParams.set('api-version', identity.service === undefined ? '2018-02-01' : '2019-08-01')
  url.searchParams.set('resource', resource)
  if (identity.clientId !== undefined) url.searchParams.set('client_id', identity.clientId)
  const headers: Record<string, string> =
    identity.service === undefined ? { Metadata: 'true' } : { 'X-IDENTITY-HEADER': identity.service.header }
  let status: number
  let text: string
  let contentType: string | undefined
  try {
    // The service runs on the same machine: no answer within seconds means that there is none. The token is shared, so
    // no single caller's signal may cancel the request.
    const response = await send({ method: 'GET', url: url.href, headers, signal: AbortSignal.timeout(10_000) })
    status = response.statusCode ?? 0
    contentType = response.headers['content-type']
    text = (await readBody(response, 1024 * 1024)).toString('utf8')
  } catch (error) {
    if (error instanceof DOMException || UNREACHABLE.has(systemCode(error) ?? '')) {
      throw new RetryableStoreError(`${action}: nothing answers at ${url.host}`, {
        code: 'access',
        hints: [`${repository}-azure-key-type=auto requires an Azure machine with a managed identity`],
        cause: error,
      })
    }
    throw networkError(action, error)
  }
  const found = jsonObject(text)
  const { access_token: token, token_type: type = 'Bearer' } = found ?? {}
  if (status === 200 && typeof token === 'string' && token !== '' && /^bearer$/i.test(String(type))) {
    return { token, expiresOnTimestamp: expiry(found ?? {}, clock) }
  }
  if (status < 500 && (status === 200 || found === undefined)) {
    // The body may contain a secret.
    throw networkError(
      action,
      new UnprovenAnswer('a token service', { status, contentType }, 'no token of type Bearer'),
    )
  }
  const answer = found ?? {}
  const words = [answer['error'], answer['error_description']].filter((part) => typeof part === 'string').join(': ')
  const message = `${action}: ${words || 'the answer contains no token'} (${status})`
  if (status === 404 || status === 410 || status === 429 || status >= 500) {
    throw new RetryableStoreError(message, { code: 'access', overloaded: status === 429 })
  }
  throw new RefusedRequestError('access', message, {
    hints: ['assign a managed identity to this machine, and give it the role Storage Blob Data Contributor'],
  })
}

const UNREACHABLE = new Set(['ECONNREFUSED', 'EHOSTUNREACH', 'ENETUNREACH', 'ETIMEDOUT', 'EHOSTDOWN'])

/** `expires_on`: seconds since the epoch, `expires_in`: seconds from now; either may be text or a number. */
function expiry(answer: Record<string, unknown>, clock: Clock): number {
  const on = Number(answer['expires_on'])
  if (Number.isFinite(on) && on > 0) return on * 1000
  const inSeconds = Number(answer['expires_in'])
  return clock.nowMs() + (Number.isFinite(inSeconds) ? inSeconds : 300) * 1000
}
