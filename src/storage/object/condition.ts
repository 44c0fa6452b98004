import { PgtsError } from '../../util/error.ts'
import { StoreRefusal } from './retryable-error.ts'

/** The range begins at the end of the object or beyond. No error to whoever reads: there is nothing left there. */
export class RangeBeyondEnd extends PgtsError {}

/** The object is not, or no longer, what the request was meant for: replaced meanwhile, or there already. */
export class ConditionFailed extends PgtsError {}

/**
 * A refusal of a conditional write that has no better reason may be for the condition: the same write without it tells.
 *
 * @returns `feature-not-supported` for such a one, any other error as it is
 */
export function withoutCondition(error: unknown): unknown {
  if (!(error instanceof StoreRefusal) || error.code !== 'file-write') return error
  return new PgtsError('feature-not-supported', error.message, { hints: error.hints, cause: error.cause })
}
