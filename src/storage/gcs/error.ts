import type { IncomingMessage } from 'node:http'
import { PgtsError, type ErrorCode } from '../../util/error.ts'
import { jsonObject } from '../../util/is-object.ts'
import { networkError } from '../http/network-error.ts'
import { retryAfterMs } from '../http/retry-after.ts'
import { readBody } from '../http/send.ts'
import { UnprovenAnswer } from '../http/unproven-answer.ts'
import { ConditionFailed } from '../object/condition.ts'
import { RefusedRequestError, RetryableStoreError } from '../object/retryable-error.ts'
import type { GcsDescription } from './description.ts'

/** The parts of a repository that error messages name. */
export interface GcsPlace {
  readonly display: string
  readonly bucket: string
  readonly credential: GcsDescription['credential']['type']
  /** Prefix of its options: `repo1`. */
  readonly repository: string
}

export interface GcsRefusal {
  readonly status: number
  /** Google's reason: `forbidden`, `rateLimitExceeded`. May be empty. */
  readonly reason: string
  readonly words: string
  readonly retryAfterMs?: number
  /**
   * Set if the answer is not a JSON error. The JSON API refuses in JSON, except for requests for the bytes of an
   * object.
   */
  readonly unproven?: UnprovenAnswer
}

/** Statuses that deny a request regardless of the sender. Any other status of an unproven answer is not trusted. */
const REFUSING = new Set([400, 401, 403, 405, 411, 413, 501])

/** Converts an unsuccessful answer. Reads it to its end, so that the connection can be used again. */
export async function refusalOf(response: IncomingMessage): Promise<GcsRefusal> {
  const text = (await readBody(response, 1024 * 1024)).toString('utf8')
  const wait = retryAfterMs(response.headers['retry-after'])
  const status = response.statusCode ?? 0
  const isProven = (jsonObject(text)?.['error'] as { code?: unknown } | null | undefined)?.code === status
  return {
    ...refusalIn(status, text),
    retryAfterMs: wait,
    ...(isProven ? {} : { unproven: unprovenAnswer(response, 'no error in JSON', text) }),
  }
}

export function unprovenAnswer({ statusCode, headers }: IncomingMessage, lacks: string, text?: string): UnprovenAnswer {
  return new UnprovenAnswer('a GCS', { status: statusCode ?? 0, contentType: headers['content-type'], text }, lacks)
}

/** @param text body: JSON of the service, or text of a proxy */
export function refusalIn(status: number, text: string): GcsRefusal {
  // Proxies and media downloads answer with plain text.
  const error = jsonObject(text)?.['error'] as { message?: unknown; errors?: { reason?: unknown }[] } | null | undefined
  const prose = text
    .replaceAll(/<[^>]*>/g, ' ')
    .replaceAll(/\s+/g, ' ')
    .trim()
    .slice(0, 200)
  const words = typeof error?.message === 'string' ? error.message : prose
  return { status, reason: String(error?.errors?.[0]?.reason ?? ''), words: words.trim() || 'refused' }
}

/**
 * @param action the failed action and its object: `cannot read gcs://bucket/name`
 * @param code used if the refusal has no more specific code
 * @see https://cloud.google.com/storage/docs/json_api/v1/status-codes
 */
export function gcsError(action: string, code: ErrorCode, place: GcsPlace, answer: GcsRefusal): PgtsError {
  const { status, reason, words } = answer
  const message = `${action}: ${explain(place, answer)}`
  const cause = new Error(words)
  if (isPassing(answer)) {
    const wait = answer.retryAfterMs === undefined ? {} : { retryAfterMs: answer.retryAfterMs }
    return new RetryableStoreError(message, { overloaded: isOverload(answer), cause, ...wait })
  }
  if (answer.unproven !== undefined && !REFUSING.has(status)) return networkError(action, answer.unproven)
  if (status === 404) {
    if (!isBucketMissing(answer)) {
      return LOOKING.has(code)
        ? new PgtsError('file-missing', message, { cause })
        : new RefusedRequestError(code, message, { cause })
    }
    // Only a missing object is a normal result. A missing bucket must not look like the end of the archive.
    const hints = [`create bucket ${place.bucket}, or correct ${place.repository}-gcs-bucket: pgts does not create it`]
    return new RefusedRequestError('path-missing', message, { hints, cause })
  }
  const hint = HINTS[reason]?.(place)
  const denied = code === 'file-remove' && answer.unproven === undefined && isDenial(answer)
  if (hint !== undefined) return new PgtsError(code, message, { hints: [hint], cause, denied })
  if (status === 401 || status === 403)
    // A denied removal is not retried: no other operation depends on it.
    return new (denied ? PgtsError : RefusedRequestError)('access', message, {
      hints: accessHints(place, answer),
      cause,
      denied,
    })
  if (status === 412) return new ConditionFailed(code, message, { cause })
  return new RefusedRequestError(code, message, { cause })
}

/** Codes of requests for one object, which may be absent. */
const LOOKING: ReadonlySet<ErrorCode> = new Set(['file-info', 'file-read', 'file-remove'])

/** Why a request, or one part of a batch, was refused. */
export function explain(place: GcsPlace, answer: GcsRefusal): string {
  const { status, reason, words } = answer
  const meaning =
    status === 412
      ? 'it was replaced during the operation'
      : isBucketMissing(answer)
        ? `bucket ${place.bucket} does not exist`
        : status === 404
          ? 'it does not exist'
          : words
  return `${meaning} (${[status, reason].filter(Boolean).join(' ')})`
}

/**
 * True if permission is missing, or a retention policy or hold protects the object. An invalid or expired token (401)
 * is not a denial.
 */
export function isDenial({ status, reason }: GcsRefusal): boolean {
  if (HINTS[reason] === RETENTION) return true
  return status === 403 && !RATE_LIMITS.has(reason) && HINTS[reason] === undefined
}

/** A later attempt can succeed. */
export function isPassing(answer: GcsRefusal): boolean {
  const { status, reason, words } = answer
  // 501 comes from something other than Google's store, or from an incomplete imitation.
  if (status === 408 || (status >= 500 && status !== 501) || isOverload(answer)) return true
  // The bytes that arrived differ from the bytes that were sent.
  return status === 400 && /hash|checksum/i.test(words) && /match/i.test(words) && reason !== 'parseError'
}

function isOverload({ status, reason }: GcsRefusal): boolean {
  return status === 429 || status === 503 || (status === 403 && RATE_LIMITS.has(reason))
}

const RATE_LIMITS = new Set(['rateLimitExceeded', 'userRateLimitExceeded', 'quotaExceeded'])

export function isBucketMissing({ status, words }: GcsRefusal): boolean {
  return status === 404 && /bucket does not exist/i.test(words)
}

const RETENTION = () => 'set a retention longer than the retention policy, object hold or lock of the bucket'

const HINTS: Record<string, (place: GcsPlace) => string> = {
  retentionPolicyNotMet: RETENTION,
  objectUnderActiveHold: RETENTION,
  userProjectMissing: ({ repository }) =>
    `set ${repository}-gcs-user-project to the project that pays: the requester pays for this bucket`,
  userProjectAccessDenied: ({ repository }) =>
    `grant serviceusage.services.use on the project in ${repository}-gcs-user-project, or correct it`,
  accountDisabled: () => 'enable billing for the project that the bucket belongs to',
}

function accessHints({ credential, repository, bucket }: GcsPlace, { status }: GcsRefusal): string[] {
  if (status === 403) {
    return [`grant the account the role Storage Object User (roles/storage.objectUser) on bucket ${bucket}`]
  }
  switch (credential) {
    case 'service':
      return [`check the key in ${repository}-gcs-key: it may have been deleted or disabled`]
    case 'token':
      return [
        `renew the token in ${repository}-gcs-key: it is valid for an hour at most; key type service or auto renews it`,
      ]
    case 'web-id':
      return [`check the identity pool in ${repository}-gcs-key, and the token that it exchanges`]
    case 'auto':
      return ['check the service account of this machine, and that its access scopes include storage']
  }
}
