import { PgtsError } from '../../util/error.ts'
import { RefusedRequestError } from './retryable-error.ts'

/** The range begins at the end of the object or beyond. Readers receive no error: there is nothing left to read. */
export class RangeBeyondEnd extends PgtsError {}

/** The condition of the request does not hold: the object was replaced, or exists already. */
export class ConditionFailed extends PgtsError {}

/**
 * A conditional write that was refused without a specific reason may have been refused for the condition; the caller
 * retries without it.
 *
 * @returns `feature-not-supported` for such a refusal, any other error unchanged
 */
export function withoutCondition(error: unknown): unknown {
  if (!(error instanceof RefusedRequestError) || error.code !== 'file-write') return error
  return new PgtsError('feature-not-supported', error.message, { hints: error.hints, cause: error.cause })
}
