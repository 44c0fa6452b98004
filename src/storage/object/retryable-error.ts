import { PgtsError, type ErrorCode } from '../../util/error.ts'

/** A passing failure: the store is overloaded, a connection broke, an answer was corrupted. */
export class RetryableStoreError extends PgtsError {
  /** The store reported overload: fewer concurrent requests help, not only a later one. */
  readonly overloaded: boolean
  /** Wait that the store asked for, milliseconds. */
  readonly retryAfterMs: number | undefined

  constructor(
    message: string,
    options: {
      code?: ErrorCode
      overloaded?: boolean
      retryAfterMs?: number
      hints?: readonly string[]
      cause?: unknown
    } = {},
  ) {
    const { hints, cause } = options
    super(options.code ?? 'service', message, { hints, cause })
    this.overloaded = options.overloaded ?? false
    this.retryAfterMs = options.retryAfterMs
  }
}

/**
 * A refusal that the request itself does not explain: credentials, the bucket, the region, the clock. If it is correct,
 * a retry cannot succeed. But gateways and newly joined nodes refuse single requests this way among thousands that
 * succeed, so it is retried a few times. The same holds for an answer that is incomplete or contradicts another:
 * imperfect imitations of a store return it every time.
 */
export class RefusedRequestError extends PgtsError {}
