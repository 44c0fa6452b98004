import type { ByteString } from '../../util/byte-string.ts'
import { PgtsError, type ErrorCode } from '../../util/error.ts'
import { clocksDiffer } from '../http/clock-skew.ts'
import { networkError } from '../http/network-error.ts'
import { retryAfterMs } from '../http/retry-after.ts'
import { RefusedRequestError, RetryableStoreError } from '../object/retryable-error.ts'
import type { Refusal } from './refusal.ts'

/** Actions as messages name them, and the required permission. */
const ACTIONS = {
  look: { words: 'look up', permission: 's3:GetObject, and s3:ListBucket to detect missing objects' },
  read: { words: 'read', permission: 's3:GetObject, and s3:ListBucket to detect missing objects' },
  'read-version': { words: 'read an earlier version of', permission: 's3:GetObjectVersion' },
  write: { words: 'write', permission: 's3:PutObject' },
  list: { words: 'list', permission: 's3:ListBucket' },
  'list-versions': { words: 'list the versions of', permission: 's3:ListBucketVersions' },
  'list-uploads': { words: 'list the unfinished uploads of', permission: 's3:ListBucketMultipartUploads' },
  remove: { words: 'remove', permission: 's3:DeleteObject' },
  abort: { words: 'abort the upload of', permission: 's3:AbortMultipartUpload' },
} as const

export type S3Action = keyof typeof ACTIONS

/** The action and object of a request, for messages. */
export interface S3Subject {
  readonly action: S3Action
  /** Name of the object (byte string); absent: the bucket itself. */
  readonly name?: ByteString
  readonly signal?: AbortSignal
}

export interface S3Place {
  readonly action: S3Action
  /** The object of the action, for messages: `s3://bucket/name`. */
  readonly shown: string
  readonly bucket: string
  /** Prefix of the options of the repository: `repo1`. */
  readonly repository: string
  readonly region: string
  readonly tagged?: boolean
  readonly encrypted?: boolean
  /** The request names a storage class. */
  readonly classed?: boolean
  readonly nowMs: number
}

export function actionWords({ action, shown }: Pick<S3Place, 'action' | 'shown'>): string {
  return `cannot ${ACTIONS[action].words} ${shown}`
}

const OVERLOADED = new Set([
  'SlowDown',
  'SlowDownRead',
  'SlowDownWrite',
  'ServiceUnavailable',
  'Busy',
  'TooManyRequests',
  'RequestLimitExceeded',
  'Throttling',
  'ThrottlingException',
  'KMS.ThrottlingException',
])

/** Corrupted in transit, or in conflict with another request in progress: the same request may succeed later. */
const PASSING = new Set([
  'InternalError',
  'RequestTimeout',
  'OperationAborted',
  'ConditionalRequestConflict',
  'BadDigest',
  'XAmzContentSHA256Mismatch',
  'XAmzContentChecksumMismatch',
  'IncompleteBody',
])

export const EXPIRED = new Set(['ExpiredToken', 'ExpiredTokenException', 'TokenRefreshRequired', 'InvalidToken'])

/** Statuses that deny a request regardless of the sender. Any other status of an unproven answer is not trusted. */
const REFUSING = new Set([400, 401, 403, 405, 411, 413, 501, 507])

/** Converts a refusal to a PgtsError with hints. */
export function s3Error(refusal: Refusal, place: S3Place): PgtsError {
  const { status, code, unproven } = refusal
  const { repository: repo } = place
  const answer = answerOf(refusal, place)
  const { said, cause, message, refused } = answer
  if (OVERLOADED.has(code) || (status === 503 && code === '') || status === 429) {
    const waitMs = retryAfterMs(refusal.retryAfter, place.nowMs)
    return new RetryableStoreError(message(`the store is overloaded (${said})`), {
      overloaded: true,
      retryAfterMs: waitMs,
      cause,
    })
  }
  if (EXPIRED.has(code)) {
    return refused(
      'access',
      `the credentials have expired (${said})`,
      `renew ${repo}-s3-token, which is valid for some hours only, or use a role (${repo}-s3-key-type)`,
    )
  }
  if (unproven !== undefined && refusal.region === undefined && status < 500 && !REFUSING.has(status)) {
    return networkError(actionWords(place), unproven)
  }
  return errorOfCode(answer) ?? errorOfStatus(answer)
}

/** A refusal with the functions that build its error. */
interface Refused {
  readonly refusal: Refusal
  readonly place: S3Place
  /** Code and message of the service. */
  readonly said: string
  readonly cause: Error
  message(why: string): string
  /** Builds an error that is not retried: the same request would be refused again. */
  readonly final: Final
  /**
   * Builds an error that is retried a few times: the refusal may end, for example when an operator changes a policy.
   */
  readonly refused: Final
}

function answerOf(refusal: Refusal, place: S3Place): Refused {
  const { status, code, unproven } = refusal
  const said =
    unproven?.message ?? ([code, refusal.message].filter((part) => part !== '').join(': ') || `HTTP status ${status}`)
  const request = refusal.requestId === undefined ? '' : ` (request ${refusal.requestId})`
  const cause = new Error(`HTTP status ${status}: ${said}${request}`)
  const message = (why: string) => `${actionWords(place)}: ${why}`
  const isDenied = place.action === 'remove' && unproven === undefined && isRemovalDenied(refusal)
  const final = (kind: ErrorCode, why: string, ...hints: string[]) =>
    new PgtsError(kind, message(why), { hints, cause, denied: isDenied })
  // A denied removal is not retried: no other operation depends on it.
  const refused = (kind: ErrorCode, why: string, ...hints: string[]) =>
    new (isDenied ? PgtsError : RefusedRequestError)(kind, message(why), { hints, cause, denied: isDenied })
  return { refusal, place, said, cause, message, final, refused }
}

function errorOfCode({ refusal, place, said, final, refused }: Refused): PgtsError | undefined {
  const { repository: repo, bucket } = place
  switch (refusal.code) {
    case 'NoSuchBucket':
      return refused(
        'path-missing',
        `bucket ${bucket} does not exist`,
        `create it, or check ${repo}-s3-bucket, ${repo}-s3-endpoint and ${repo}-s3-uri-style`,
      )
    case 'NoSuchKey':
    case 'NoSuchVersion':
      return final('file-missing', 'it does not exist')
    case 'RequestTimeTooSkewed':
      return skewed(refusal, place, refused, final, said)
    case 'PermanentRedirect':
    case 'TemporaryRedirect':
    case 'AuthorizationHeaderMalformed':
    case 'IllegalLocationConstraintException':
      return wrongRegion(refusal, place, refused, said)
    case 'InvalidAccessKeyId':
      return refused('access', 'the service does not know this key', `check ${repo}-s3-key and ${repo}-s3-endpoint`)
    case 'SignatureDoesNotMatch':
      return refused(
        'access',
        'the signature does not match',
        `check ${repo}-s3-key-secret, and ${repo}-s3-region (${place.region})`,
        'check that no proxy changes the Host header',
      )
    case 'InvalidObjectState':
      return final(
        'file-read',
        'its storage class does not allow an immediate read',
        'restore the object (RestoreObject) and wait, or move the repository out of that class',
      )
    case 'InvalidRange':
      return final('file-read', 'it is shorter than expected')
    case 'NotImplemented':
      return final('feature-not-supported', `the service cannot do this (${said})`, ...optionHints(refusal, place))
    case 'EntityTooLarge':
      return final('file-write', `the object is larger than the service allows (${said})`)
    case 'QuotaExceeded':
    case 'XMinioStorageFull':
      return final('file-write', `the store is full (${said})`, "free space with a shorter retention and 'expire'")
    case 'InvalidRequest':
      if (/object lock|worm/i.test(refusal.message) && !/content-md5/i.test(refusal.message)) return locked(final, said)
  }
  return undefined
}

function errorOfStatus({ refusal, place, said, cause, message, final, refused }: Refused): PgtsError {
  const { status, code } = refusal
  const { repository: repo } = place
  // A redirect with a region in its header needs no body.
  if (status === 301 || status === 307) return wrongRegion(refusal, place, refused, said)
  if (status === 403 || code === 'AccessDenied') return denied(place, refused, said)
  if (status === 412) return final('file-read', 'it was replaced during the operation')
  if (status === 507) return final('file-write', `the store is full (${said})`)
  if (status === 501)
    return refused('feature-not-supported', `the service cannot do this (${said})`, ...optionHints(refusal, place))
  if (PASSING.has(code) || status >= 500 || status === 408 || status === 409) {
    const waitMs = retryAfterMs(refusal.retryAfter, place.nowMs)
    return new RetryableStoreError(message(said), { retryAfterMs: waitMs, cause })
  }
  const kms = code.startsWith('KMS.') ? [`check ${repo}-s3-kms-key-id and the policy of that key`] : []
  return refused('service', said, ...(kms.length > 0 ? kms : optionHints(refusal, place)))
}

/** Headers that are only sent because of an option, and that some services do not know. */
function optionHints({ message }: Refusal, { action, repository: repo, tagged, classed }: S3Place): string[] {
  if (action !== 'write') return []
  const options = [
    ...(tagged === true ? [{ name: `${repo}-storage-tag`, words: /tag/i }] : []),
    ...(classed === true ? [{ name: `${repo}-s3-storage-class`, words: /storage-?class/i }] : []),
  ]
  const named = options.filter(({ words }) => words.test(message))
  return (named.length > 0 ? named : options).map(({ name }) => `remove ${name} if the service does not support it`)
}

/**
 * True if permission is missing or the object is locked. Expired or unknown credentials are not a denial: they must be
 * replaced.
 */
export function isRemovalDenied({ status, code, message }: Pick<Refusal, 'status' | 'code' | 'message'>): boolean {
  if (EXPIRED.has(code) || NOT_A_DENIAL.has(code)) return false
  if (code === 'InvalidRequest') return /object lock|worm/i.test(message)
  return status === 403 || status === 405 || DENIALS.has(code)
}

const DENIALS = new Set(['AccessDenied', 'AllAccessDisabled', 'MethodNotAllowed', 'ObjectLocked'])
const NOT_A_DENIAL = new Set(['InvalidAccessKeyId', 'SignatureDoesNotMatch', 'RequestTimeTooSkewed'])

type Final = (kind: ErrorCode, why: string, ...hints: string[]) => PgtsError

function skewed({ serverTime }: Refusal, place: S3Place, refused: Final, final: Final, said: string): PgtsError {
  const here = new Date(place.nowMs).toISOString().replace(/\.\d+/, '')
  const differ = clocksDiffer(serverTime, place.nowMs)
  if (differ === undefined)
    return refused('clock', `the store does not accept the time of the request (${said})`, SET_CLOCK)
  if (differ) return final('clock', `the clocks differ too much: store ${serverTime}, this host ${here}`, SET_CLOCK)
  return refused(
    'service',
    `the store reports a clock difference, but its time is ${serverTime} and the time of this host ${here} (${said})`,
  )
}

const SET_CLOCK = 'set the clock of this host, and synchronise it with NTP'

function wrongRegion({ region }: Refusal, place: S3Place, refused: Final, said: string): PgtsError {
  const { repository: repo, bucket } = place
  if (region !== undefined && region !== place.region) {
    return refused(
      'service',
      `the bucket ${bucket} is in region ${region}, not in ${place.region}`,
      `set ${repo}-s3-region=${region}, and ${repo}-s3-endpoint to the endpoint of that region`,
    )
  }
  return refused(
    'service',
    `the bucket ${bucket} is at another endpoint (${said})`,
    `check ${repo}-s3-region (${place.region}) and ${repo}-s3-endpoint`,
  )
}

function denied(place: S3Place, refused: Final, said: string): PgtsError {
  const { repository: repo, bucket, action } = place
  const needed = [ACTIONS[action].permission, ...(action === 'write' && place.tagged ? ['s3:PutObjectTagging'] : [])]
  const hints = [`grant ${needed.join(' and ')} on bucket ${bucket} to the credentials of ${repo}`]
  if (action === 'remove') hints.push('an object lock prevents a removal before its retention ends')
  if (place.encrypted) hints.push('grant also kms:GenerateDataKey and kms:Decrypt for the KMS key')
  return refused('access', `access denied (${said})`, ...hints)
}

function locked(final: Final, said: string): PgtsError {
  return final('access', said, 'an object lock prevents a removal or replacement before its retention ends')
}
