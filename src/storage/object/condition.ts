import { PgtsError } from '../../util/error.ts'

/** The range begins at the end of the object or beyond. No error to whoever reads: there is nothing left there. */
export class RangeBeyondEnd extends PgtsError {}

/** The object is not, or no longer, what the request was meant for: replaced meanwhile, or there already. */
export class ConditionFailed extends PgtsError {}
