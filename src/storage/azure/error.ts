import { clocksDiffer } from '../http/clock-skew.ts'
import { networkError } from '../http/network-error.ts'
import { retryAfterMs } from '../http/retry-after.ts'
import { ConditionFailed, RangeBeyondEnd } from '../object/condition.ts'
import { RefusedRequestError, RetryableStoreError } from '../object/retryable-error.ts'
import { type ErrorCode, messageOf, PgtsError } from '../../util/error.ts'
import type { AzureCredentialDescription } from './description.ts'

/** The parts of a repository that error messages name. */
export interface AzurePlace {
  readonly display: string
  readonly container: string
  readonly credential: AzureCredentialDescription['type']
  /** Prefix of its options: `repo1`. */
  readonly repository: string
}

/**
 * Converts an error of the SDK to a PgtsError.
 *
 * @param action the failed action and its object: `cannot read azure://container/name`
 * @param code used if the refusal has no more specific code
 */
export function azureError(action: string, code: ErrorCode, place: AzurePlace, error: unknown): PgtsError {
  if (error instanceof PgtsError) return error
  const answer = error as { statusCode?: number; response?: AzureResponse; name?: string }
  const status = answer.statusCode
  if (status === undefined || status < 100) return networkError(action, error)
  const service = answer.response?.headers?.get('x-ms-error-code') ?? (error as { code?: string }).code ?? ''
  return refusal(action, code, place, {
    status,
    service,
    words: wordsOf(error),
    retryAfterMs: retryAfterMs(answer.response?.headers?.get('retry-after')),
    date: answer.response?.headers?.get('date'),
  })
}

interface AzureResponse {
  readonly headers?: { get(name: string): string | undefined }
}

export interface AzureRefusal {
  readonly status: number
  /** Azure's own code: `BlobNotFound`. May be empty: the answer to a HEAD has no body. */
  readonly service: string
  readonly words: string
  readonly retryAfterMs?: number
  /** Time of the service, from its answer. */
  readonly date?: string
}

/** @see https://learn.microsoft.com/rest/api/storageservices/blob-service-error-codes */
export function refusal(action: string, code: ErrorCode, place: AzurePlace, answer: AzureRefusal): PgtsError {
  const { status, service } = answer
  const message = `${action}: ${explain(place, answer)}`
  const cause = new Error(answer.words)
  if (status === 404) {
    const hints = NOT_FOUND_HINTS[service]?.(place)
    // Only a missing blob is a normal result. A missing container must not look like the end of the archive.
    if (hints !== undefined) return new RefusedRequestError('path-missing', message, { hints, cause })
    if (!LOOKING.has(code)) return new RefusedRequestError(code, message, { cause })
    return new PgtsError('file-missing', message, { cause })
  }
  const denied = code === 'file-remove' && isDenial(answer)
  if (status === 401 || (status === 403 && !POLICY.has(service)) || service === 'InvalidAuthenticationInfo') {
    const options = { hints: accessHints(place, answer), cause }
    // A denied removal is not retried: no other operation depends on it.
    return denied
      ? new PgtsError('access', message, { ...options, denied })
      : new RefusedRequestError('access', message, options)
  }
  if (status === 412 || service === 'BlobAlreadyExists') return new ConditionFailed(code, message, { cause })
  if (status === 416) return new RangeBeyondEnd('file-read', message, { cause })
  if (status === 408 || status === 429 || (status >= 500 && status !== 501) || CORRUPTED_IN_TRANSIT.has(service)) {
    const overloaded = status === 429 || status === 503 || service === 'OperationTimedOut'
    const wait = answer.retryAfterMs === undefined ? {} : { retryAfterMs: answer.retryAfterMs }
    return new RetryableStoreError(message, { overloaded, cause, ...wait })
  }
  if (service === 'NotImplemented') return new PgtsError('feature-not-supported', message, { cause })
  const hint = HINTS[service]
  if (denied) return new PgtsError(code, message, { cause, denied, hints: hint === undefined ? undefined : [hint] })
  if (hint !== undefined) return new PgtsError(code, message, { hints: [hint], cause })
  if (FINAL.has(service)) return new PgtsError(code, message, { cause })
  return new RefusedRequestError(code, message, { cause })
}

/** Codes of requests for one blob, which may be absent. */
const LOOKING: ReadonlySet<ErrorCode> = new Set(['file-info', 'file-read'])

/** Always final: no gateway answers with these codes. */
const FINAL = new Set(['AccountIsDisabled', 'RequestBodyTooLarge', 'FeatureVersionMismatch'])

/** Why a request, or one part of a batch, was refused. */
export function explain(place: AzurePlace, { status, service, words }: AzureRefusal): string {
  return `${MEANINGS[service]?.(place) ?? words} (${[status, service].filter(Boolean).join(' ')})`
}

/** Codes that refuse because of the state of the object, not because of permissions. */
const POLICY = new Set(['BlobImmutableDueToPolicy', 'AccountIsDisabled'])

/**
 * True if permission is missing or a policy protects the blob. A rejected signature or token (401, 403) is not a
 * denial.
 */
export function isDenial({ status, service }: AzureRefusal): boolean {
  if (service === 'BlobImmutableDueToPolicy') return true
  return (
    status === 403 &&
    !POLICY.has(service) &&
    service !== 'AuthenticationFailed' &&
    service !== 'InvalidAuthenticationInfo'
  )
}

/** The bytes that arrived differ from the bytes that were sent. */
const CORRUPTED_IN_TRANSIT = new Set(['Md5Mismatch', 'Crc64Mismatch', 'IncompleteBody', 'RequestBodyIncomplete'])

const MEANINGS: Record<string, (place: AzurePlace) => string> = {
  ConditionNotMet: () => 'it was replaced during the operation',
  BlobNotFound: () => 'it does not exist',
  ContainerNotFound: ({ container }) => `container ${container} does not exist in the account`,
  ContainerBeingDeleted: ({ container }) => `container ${container} is being deleted`,
  ServerBusy: () => 'the store is overloaded',
  OperationTimedOut: () => 'the store did not finish in time',
  InternalError: () => 'internal error of the store',
  BlobImmutableDueToPolicy: () => 'an immutability policy or a legal hold protects it',
  AccountIsDisabled: () => 'the account is disabled',
  ResourceNotFound: () => 'the account or container does not exist',
  LeaseIdMissing: () => 'another client holds a lease on it',
  SnapshotsPresent: () => 'it has snapshots, which must be removed first',
  Md5Mismatch: () => 'the bytes were corrupted in transit',
}

const HINTS: Record<string, string> = {
  LeaseIdMissing: 'find who holds the lease; break it with the portal or with az storage blob lease break',
  BlobImmutableDueToPolicy:
    'set a retention longer than the immutability policy of the container; the next expire tries again',
  SnapshotsPresent: 'remove the snapshots: they are not part of the repository',
  BlobAccessTierNotSupportedForAccountType: 'use a general-purpose v2 account',
  BlobArchived: 'move the blobs of the repository out of the archive tier, and wait until that is done',
  InvalidBlobType: 'remove the append or page blob of this name, which another program wrote',
}

const NOT_FOUND_HINTS: Record<string, (place: AzurePlace) => string[]> = {
  ContainerNotFound: ({ container, repository }) => [
    `create container ${container}, or correct ${repository}-azure-container: pgts does not create it`,
  ],
  ResourceNotFound: ({ repository: repo }) => [
    `check ${repo}-azure-account, ${repo}-azure-endpoint and ${repo}-azure-uri-style`,
  ],
}

function accessHints(place: AzurePlace, { service, words, date }: AzureRefusal): string[] {
  const clock = clocksDiffer(date, Date.now()) === false ? [] : [CLOCK]
  if (clock.length > 0 && /date header|RequestDate|15 minutes|too old/i.test(words)) return clock
  const rules = service === 'AuthorizationFailure' ? [NETWORK_RULES] : []
  if (service.startsWith('Authorization') && place.credential === 'sas') {
    return [
      `the signature (${place.repository}-azure-key) must be valid now, for this container, and grant read, add, create, write, delete, list and tag`,
      ...rules,
    ]
  }
  switch (place.credential) {
    case 'shared':
      return [
        `check ${place.repository}-azure-account and ${place.repository}-azure-key, which is one of the two access keys of the account`,
        ...clock,
        ...rules,
      ]
    case 'sas':
      return [
        `check ${place.repository}-azure-key: a shared access signature expires (se=), begins (st=), and is for one container and protocol`,
        'a signature is invalid after its access key or stored access policy was replaced',
      ]
    case 'auto':
      return [
        `give the identity of this machine the role Storage Blob Data Contributor on container ${place.container}`,
        NETWORK_RULES,
      ]
  }
}

const CLOCK = 'check the clock of this host: Azure refuses requests that are more than 15 minutes off'
const NETWORK_RULES = 'check the network rules of the account: they may refuse this host'

/**
 * The message of Azure has several lines: the reason, then the request id and the time, which Azure support asks for.
 */
function wordsOf(error: unknown): string {
  const details = (error as { details?: { message?: string } }).details?.message
  const text = details ?? messageOf(error)
  const lines = text.split('\n').map((line) => line.trim())
  const id = lines.find((line) => line.startsWith('RequestId:'))
  return [lines[0] || 'refused', ...(id === undefined ? [] : [id])].join(', ')
}
