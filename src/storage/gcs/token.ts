import { createSign } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import type { IncomingHttpHeaders } from 'node:http'
import { textPath } from '../../util/byte-string.ts'
import { systemClock, type Clock } from '../../util/clock.ts'
import { PgtsError } from '../../util/error.ts'
import { loadModule } from '../../util/load-module.ts'
import { clocksDiffer } from '../http/clock-skew.ts'
import { networkError } from '../http/network-error.ts'
import { retryAfterMs } from '../http/retry-after.ts'
import { readBody, type HttpRequest, type HttpSend } from '../http/send.ts'
import { UnprovenAnswer } from '../http/unproven-answer.ts'
import { RefusedRequestError, RetryableStoreError } from '../object/retryable-error.ts'
import type { GcsDescription } from './description.ts'
import { jsonObject } from '../../util/is-object.ts'

/** Source of access tokens. */
export interface TokenSource {
  /** Returns a token that is valid for some more minutes. Concurrent calls share one request. */
  get(): Promise<string>
  /**
   * Called when the service rejected this token. True if another token may be accepted: this one was not fetched just
   * now, and is discarded.
   */
  refused(token: string): boolean
}

/**
 * A token is replaced this long before it expires, so that a request that uses it can still finish, retries included.
 */
const REFRESH_BEFORE_MS = 5 * 60_000
/** A token younger than this cannot have expired. */
const FRESH_MS = 30_000

export function tokenSource(
  { credential, repository }: Pick<GcsDescription, 'credential' | 'repository'>,
  send: HttpSend,
  clock: Clock = systemClock,
): TokenSource {
  switch (credential.type) {
    case 'token': {
      const token = credential.token.trim()
      return { get: () => Promise.resolve(token), refused: () => false }
    }
    case 'service':
      return renewing(() => fromKeyFile(credential.keyFile, `${repository}-gcs-key`, send, clock), clock)
    case 'web-id':
      return renewing(() => fromExternalAccount(credential.accountFile, `${repository}-gcs-key`, send, clock), clock)
    case 'auto':
      return renewing(() => fromMetadata(credential.metadata ?? 'metadata.google.internal', send, clock), clock)
  }
}

interface Token {
  readonly text: string
  readonly expiresMs: number
}

function renewing(fetch: () => Promise<Token>, clock: Clock): TokenSource {
  let kept: { readonly token: Token; readonly sinceMs: number } | undefined
  let pending: Promise<string> | undefined
  const renew = async () => {
    const token = await fetch()
    kept = { token, sinceMs: clock.nowMs() }
    return token.text
  }
  return {
    get() {
      if (kept !== undefined && kept.token.expiresMs - REFRESH_BEFORE_MS > clock.nowMs()) {
        return Promise.resolve(kept.token.text)
      }
      return (pending ??= renew().finally(() => (pending = undefined)))
    },
    refused(token) {
      if (kept?.token.text !== token) return true
      if (clock.nowMs() - kept.sinceMs < FRESH_MS) return false
      kept = undefined
      return true
    },
  }
}

const SCOPE = 'https://www.googleapis.com/auth/devstorage.read_write'

/**
 * Signs a request as the account, and exchanges it for a token.
 * @see https://developers.google.com/identity/protocols/oauth2/service-account#httprest
 */
async function fromKeyFile(path: string, option: string, send: HttpSend, clock: Clock): Promise<Token> {
  const key = await readKey(path, option)
  const nowS = Math.floor(clock.nowMs() / 1000)
  const claims = { iss: key.email, scope: SCOPE, aud: key.tokenUri, iat: nowS, exp: nowS + 3600 }
  const header = { alg: 'RS256', typ: 'JWT', kid: key.id }
  const signed = [header, claims].map((part) => Buffer.from(JSON.stringify(part)).toString('base64url')).join('.')
  let signature: string
  try {
    signature = createSign('RSA-SHA256').update(signed).sign(key.privateKey, 'base64url')
  } catch {
    // The cause could contain the key.
    throw new PgtsError('file-invalid', `the private key in ${path} cannot be used`, { hints: [getAnother(option)] })
  }
  const form = new URLSearchParams({
    grant_type: 'urn:ietf:params:oauth:grant-type:jwt-bearer',
    assertion: `${signed}.${signature}`,
  })
  const refused = `the key in ${option} is not, or no longer, valid for this account: ${getAnother(option)}`
  return ask(`cannot get a token for ${key.email}`, refused, send, clock, posted(key.tokenUri, form))
}

function posted(url: string, form: URLSearchParams): HttpRequest {
  const headers = { 'content-type': 'application/x-www-form-urlencoded' }
  return { method: 'POST', url, headers, body: form.toString() }
}

/** @see https://cloud.google.com/iam/docs/reference/sts/rest/v1/TopLevel/token */
async function fromExternalAccount(path: string, option: string, send: HttpSend, clock: Clock): Promise<Token> {
  const { readTokenExchange } = await loadModule(() => import('./external-account.ts'))
  const { tokenUrl, form, tokenFile } = await readTokenExchange(path, option, SCOPE)
  const refused = `check that ${tokenFile} contains a current token, and that the identity pool in ${option} accepts it`
  return ask(`cannot exchange the token in ${tokenFile}`, refused, send, clock, posted(tokenUrl, form))
}

interface ServiceKey {
  readonly email: string
  readonly privateKey: string
  readonly id: string | undefined
  readonly tokenUri: string
}

async function readKey(path: string, option: string): Promise<ServiceKey> {
  const text = await readFile(textPath(path), 'utf8').catch((cause: unknown) => {
    const why = cause instanceof Error ? cause.message : String(cause)
    throw new PgtsError('file-open', `cannot read the key of the service account: ${why}`, {
      hints: [`set ${option} to the path of the JSON key file, and make it readable for this user`],
      cause,
    })
  })
  let key: Record<string, unknown>
  try {
    key = JSON.parse(text) as Record<string, unknown>
  } catch {
    throw new PgtsError('file-invalid', `${path} is not a JSON service account key`, {
      hints: [getAnother(option)],
    })
  }
  const { client_email: email, private_key: privateKey, private_key_id: id, token_uri: tokenUri } = key
  if (typeof email !== 'string' || typeof privateKey !== 'string') {
    const type = typeof key['type'] === 'string' ? ` but of ${key['type']}` : ''
    throw new PgtsError('file-invalid', `${path} is not a service account key${type}`, {
      hints: [getAnother(option)],
    })
  }
  if (
    tokenUri !== undefined &&
    (typeof tokenUri !== 'string' || !/^https?:/.test(tokenUri) || !URL.canParse(tokenUri))
  ) {
    throw new PgtsError('file-invalid', `token_uri in ${path} is not a URL`, { hints: [getAnother(option)] })
  }
  return {
    email,
    privateKey,
    id: typeof id === 'string' ? id : undefined,
    tokenUri: tokenUri ?? 'https://oauth2.googleapis.com/token',
  }
}

const getAnother = (option: string) =>
  `create a key for the service account (gcloud iam service-accounts keys create), and name its file in ${option}`

/** @see https://cloud.google.com/compute/docs/access/authenticate-workloads */
async function fromMetadata(host: string, send: HttpSend, clock: Clock): Promise<Token> {
  const url = `http://${host}/computeMetadata/v1/instance/service-accounts/default/token`
  const action = 'cannot get a token for the service account of this machine'
  return ask(action, undefined, send, clock, { method: 'GET', url, headers: { 'metadata-flavor': 'Google' } })
}

/** @param refused hint for a refusal; absent: ask the metadata service */
async function ask(
  action: string,
  refused: string | undefined,
  send: HttpSend,
  clock: Clock,
  request: HttpRequest,
): Promise<Token> {
  const startMs = clock.nowMs()
  let status: number
  let text: string
  let headers: IncomingHttpHeaders
  let wait: number | undefined
  let date: string | undefined
  try {
    // The token is shared by many requests, so no single caller's signal may cancel this one.
    const response = await send({ ...request, signal: AbortSignal.timeout(30_000) })
    status = response.statusCode ?? 0
    headers = response.headers
    wait = retryAfterMs(response.headers['retry-after'])
    date = response.headers.date
    text = (await readBody(response, 1024 * 1024)).toString('utf8')
  } catch (error) {
    if (refused === undefined) {
      const { host } = new URL(request.url)
      const hints = ['key type auto requires a machine of Google Cloud with a service account']
      throw new RetryableStoreError(`${action}: nothing answers at ${host}`, { code: 'access', hints, cause: error })
    }
    throw networkError(action, error)
  }
  const answer = jsonObject(text) ?? {}
  const { access_token: token, expires_in: inSeconds, token_type: type } = answer
  // The metadata service marks every answer with a header; the token service refuses in JSON.
  const isProven =
    refused === undefined
      ? headers['metadata-flavor'] === 'Google'
      : status === 200 || typeof answer['error'] === 'string'
  const isToken = typeof token === 'string' && token !== '' && Number(inSeconds) > 0 && /^bearer$/i.test(String(type))
  if (status === 200 && isToken && isProven) return { text: token, expiresMs: startMs + Number(inSeconds) * 1000 }
  if (status < 500 && (status === 200 || !isProven)) {
    // The body may contain a secret.
    const seen = { status, contentType: headers['content-type'] }
    throw networkError(action, new UnprovenAnswer('a token service', seen, 'no token of type Bearer'))
  }
  const error = [answer['error'], answer['error_description']].filter((part) => typeof part === 'string').join(': ')
  const message = `${action}: ${error || 'the answer contains no token'} (${status})`
  if (status === 408 || status === 429 || status >= 500) {
    throw new RetryableStoreError(message, {
      code: 'access',
      overloaded: status === 429,
      retryAfterMs: wait || undefined,
    })
  }
  throw new RefusedRequestError('access', message, {
    hints: hintsFor(error, refused, clocksDiffer(date, clock.nowMs())),
  })
}

/** @param skewed whether the clocks of this host and of the service differ; undefined: unknown */
function hintsFor(error: string, refused: string | undefined, skewed: boolean | undefined): string[] {
  if (refused === undefined)
    return ['attach a service account to this machine, with access scopes that include storage']
  if (/timeframe|short-lived|iat and exp/i.test(error))
    return skewed === false ? [] : ['set the clock of this host: it differs by minutes']
  return [refused]
}
