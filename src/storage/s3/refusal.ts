import type { UnprovenAnswer } from '../http/unproven-answer.ts'

/** What the service said instead of doing what it was asked. */
export interface Refusal {
  /** HTTP status; 503 where the refusal came in the body of what began as a success. */
  readonly status: number
  /** `NoSuchKey`, `SlowDown`, ...; '' when the answer has no body or is not from an S3 service. */
  readonly code: string
  readonly message: string
  /** Where the bucket is, if the service said so. */
  readonly region?: string
  /** Time of the service, as it says it. */
  readonly serverTime?: string
  readonly retryAfter?: string
  /** By which the operator of the service finds this request in its log. */
  readonly requestId?: string
  /** What came instead of a refusal of an S3 service; absent: it is one, or an answer to HEAD, which has no body. */
  readonly unproven?: UnprovenAnswer
}

/** Statuses with which services refuse a header, a parameter or an operation that they do not know. */
const UNKNOWN = new Set([400, 403, 405, 411, 415, 422, 501])

/** Codes with these statuses that name another reason. */
const OTHER_REASONS = new Set([
  'AuthorizationHeaderMalformed',
  'BadDigest',
  'EntityTooLarge',
  'EntityTooSmall',
  'ExpiredToken',
  'ExpiredTokenException',
  'IllegalLocationConstraintException',
  'IncompleteBody',
  'InvalidAccessKeyId',
  'InvalidToken',
  'KeyTooLongError',
  'QuotaExceeded',
  'RequestTimeout',
  'RequestTimeTooSkewed',
  'TokenRefreshRequired',
  'XAmzContentChecksumMismatch',
  'XAmzContentSHA256Mismatch',
])

/**
 * May a request have been refused for something that goes beyond the S3 of old? Services say so in many ways (400
 * InvalidArgument, 501 NotImplemented, 403 SignatureDoesNotMatch), so only a request without it can tell.
 */
export function mayBeUnknown({ status, code }: Refusal): boolean {
  return UNKNOWN.has(status) && !OTHER_REASONS.has(code)
}

/** What the errors of AWS's client have in common: what it could read of the answer. */
interface SdkError {
  readonly $metadata?: { readonly httpStatusCode?: number; readonly requestId?: string }
  readonly $response?: { readonly statusCode?: number; readonly headers?: Readonly<Record<string, string>> }
  readonly [element: string]: unknown
}

/** What the library says when the answer has no code of an S3 service. */
const MADE_UP = new Set(['Unknown', 'NotFound', 'UnknownError', 'Error', 'TypeError', 'SyntaxError'])
const MADE_UP_MESSAGE = 'UnknownError'

/**
 * The refusal that an error of AWS's client stands for; undefined when there was no answer, or a success that could not
 * be read. Signed text that some services repeat in it is left out.
 *
 * @param unproven see `Refusal`
 */
export function refusalOf(error: unknown, unproven?: UnprovenAnswer): Refusal | undefined {
  if (!(error instanceof Error)) return undefined
  const { $metadata: metadata, $response: response, ...elements } = error as Error & SdkError
  const status = response?.statusCode ?? metadata?.httpStatusCode
  if (status === undefined || (status >= 200 && status < 300)) return undefined
  const element = (name: string) =>
    unproven === undefined && typeof elements[name] === 'string' ? elements[name] : undefined
  const headers = response?.headers ?? {}
  const code = element('Code') ?? (unproven !== undefined || MADE_UP.has(String(error.name)) ? '' : String(error.name))
  const region = element('Region') ?? headers['x-amz-bucket-region']
  const serverTime = element('ServerTime') ?? headers['date']
  const retryAfter = headers['retry-after']
  const requestId = element('RequestId') ?? metadata?.requestId ?? headers['x-amz-request-id']
  return {
    status,
    code,
    message: code === '' || error.message === MADE_UP_MESSAGE ? '' : error.message,
    region,
    serverTime,
    retryAfter,
    requestId,
    unproven,
  }
}
