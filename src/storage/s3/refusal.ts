import { parseXML } from '@aws-sdk/xml-builder'
import type { UnprovenAnswer } from '../http/unproven-answer.ts'
import { xmlElement } from '../http/xml-root.ts'
import type { HttpResponse } from './proof.ts'

/** The error answer of the service. */
export interface Refusal {
  /** HTTP status; 503 if the refusal came in the body of a 200. */
  readonly status: number
  /** `NoSuchKey`, `SlowDown`, ...; '' when the answer has no body or is not from an S3 service. */
  readonly code: string
  readonly message: string
  /** Region of the bucket, if the service reported it. */
  readonly region?: string
  /** Time of the service, in its own format. */
  readonly serverTime?: string
  readonly retryAfter?: string
  /** Identifies the request in the log of the service. */
  readonly requestId?: string
  /** Set if another server refused; absent: the service did, or it is an answer to HEAD, which has no body. */
  readonly unproven?: UnprovenAnswer
}

/** The result of a request, or its refusal. */
export type S3Answer<O> =
  { readonly output: O; readonly refusal?: undefined } | { readonly output?: undefined; readonly refusal: Refusal }

/** Statuses with which services refuse an unknown header, parameter or operation. */
const UNKNOWN = new Set([400, 403, 405, 411, 415, 422, 501])

/** Codes with these statuses that have another reason. */
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
 * True if the request may have been refused for a feature newer than the original S3. Services report that in many ways
 * (400 InvalidArgument, 501 NotImplemented, 403 SignatureDoesNotMatch), so only a request without the feature gives
 * certainty.
 */
export function mayBeUnknown({ status, code }: Refusal): boolean {
  return UNKNOWN.has(status) && !OTHER_REASONS.has(code)
}

/** The common members of the errors of AWS's client. */
interface SdkError {
  readonly $metadata?: { readonly httpStatusCode?: number; readonly requestId?: string }
  readonly $response?: { readonly statusCode?: number; readonly headers?: Readonly<Record<string, string>> }
  readonly [element: string]: unknown
}

/** Codes that the library makes up if the answer has no code of an S3 service. */
const MADE_UP = new Set(['Unknown', 'NotFound', 'UnknownError', 'Error', 'TypeError', 'SyntaxError'])
const MADE_UP_MESSAGE = 'UnknownError'

/**
 * Converts an error of AWS's client to a refusal; undefined if there was no answer, or a success that could not be
 * read. The signed text that some services repeat is left out.
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

/**
 * Converts the answer to a direct request to a refusal.
 *
 * @param text its body; absent: the answer to a HEAD
 * @param unproven see `Refusal`
 */
export function refusalIn(
  { statusCode: status, headers }: HttpResponse,
  text: string | undefined,
  unproven: UnprovenAnswer | undefined,
): Refusal {
  const element = text === undefined || unproven !== undefined ? () => undefined : elementsOf(text)
  const region = element('Region') ?? headers['x-amz-bucket-region']
  const serverTime = element('ServerTime') ?? headers['date']
  const requestId = element('RequestId') ?? headers['x-amz-request-id']
  return {
    status,
    code: element('Code') ?? '',
    message: element('Message') ?? '',
    region,
    serverTime,
    retryAfter: headers['retry-after'],
    requestId,
    unproven,
  }
}

function elementsOf(text: string): (name: string) => string | undefined {
  let root: unknown
  try {
    root = Object.values(parseXML(text) as Record<string, unknown>)[0]
  } catch {
    // Its code was found before; the rest is for messages.
  }
  const elements = typeof root === 'object' && root !== null ? (root as Record<string, unknown>) : {}
  return (name) => (typeof elements[name] === 'string' ? elements[name] : xmlElement(text, name))
}
