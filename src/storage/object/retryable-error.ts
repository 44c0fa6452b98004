import { PgtsError, type ErrorCode } from '../../util/error.ts'

/** A failure that may pass: the store asked to slow down, a connection broke, an answer came back broken. */
export class RetryableStoreError extends PgtsError {
  /** The store said that it is overloaded: fewer requests at once help, not only a later one. */
  readonly overloaded: boolean
  /** How long the store asked to wait, milliseconds. */
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
 * A refusal for which the request itself gives no reason: credentials, the bucket, the region, the clock. When it is
 * true, asking again changes nothing. But gateways and nodes that have just joined refuse single requests this way among
 * thousands that are served, so it is asked again a few times before it is believed. Likewise an answer of the store that
 * is incomplete or contradicts another: stores that imitate one imperfectly give it every time.
 */
export class StoreRefusal extends PgtsError {}
