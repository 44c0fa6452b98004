import type { Clock } from '../../util/clock.ts'
import { PgtsError } from '../../util/error.ts'
import type { FailureLog } from './failure-log.ts'
import { RefusedRequestError, RetryableStoreError } from './retryable-error.ts'

export interface RetryPolicy {
  /** Maximum number of retries. */
  readonly retries: number
  /** No retry begins after this time since the first attempt, milliseconds. */
  readonly totalMs: number
  /** Maximum wait for an answer, or for more of it, milliseconds. */
  readonly timeoutMs: number
  /** Approximate first wait; each further one is about twice as long, up to `longestWaitMs`. */
  readonly firstWaitMs?: number
  readonly longestWaitMs?: number
}

export const FIRST_WAIT_MS = 200
const LONGEST_WAIT_MS = 30_000

export interface TriesContext {
  /** The request, for messages: `read backup/main/...`. */
  readonly what: string
  readonly policy: RetryPolicy
  /** Maximum number of retries after refusals. */
  readonly refusals: number
  readonly clock: Clock
  readonly random: () => number
  readonly failures: FailureLog
}

/** The attempts of one request. */
export class Tries {
  readonly #context: TriesContext
  readonly #sinceMs: number
  #failed = 0
  #refused = 0
  #refusal: RefusedRequestError | undefined

  constructor(context: TriesContext) {
    this.#context = context
    this.#sinceMs = context.clock.nowMs()
  }

  /** Waits until the next attempt may begin. @throws the failure if no attempt is left */
  async wait(failure: RetryableStoreError | RefusedRequestError, signal: AbortSignal | undefined): Promise<void> {
    const { what, policy, refusals, clock, random, failures } = this.#context
    const { retries, totalMs, timeoutMs, firstWaitMs = FIRST_WAIT_MS, longestWaitMs = LONGEST_WAIT_MS } = policy
    const growing = Math.min(longestWaitMs, firstWaitMs * 2 ** this.#failed)
    const spentMs = clock.nowMs() - this.#sinceMs
    // Half of the wait to the full wait, so that many workers do not retry at the same moment.
    const jittered = growing * (0.5 + random() / 2)
    // A store may ask for an hour. This must neither block nor end the request, so half of the remaining time is the
    // maximum, which leaves further attempts.
    const asked = (failure instanceof RetryableStoreError ? failure.retryAfterMs : undefined) ?? 0
    const waitMs = Math.max(jittered, Math.min(asked, timeoutMs, (totalMs - spentMs) / 2))
    const exhausted = ++this.#failed > retries || spentMs + waitMs > totalMs
    if (failure instanceof RefusedRequestError) {
      if (exhausted || ++this.#refused > refusals) throw failure
      this.#refusal ??= failure
    } else {
      if (exhausted) throw givenUp(failure, this.#failed, spentMs)
      failures.failed(`cannot ${what}: ${failure.message}`, waitMs, spentMs)
    }
    await clock.sleep(waitMs, signal)
  }

  succeeded(): void {
    const { what, failures } = this.#context
    if (this.#refusal !== undefined) failures.passedRefusal(`cannot ${what}: ${this.#refusal.message}`)
  }
}

function givenUp(failure: RetryableStoreError, tries: number, spentMs: number): PgtsError {
  if (tries === 1) return failure
  const seconds = (spentMs / 1000).toFixed(1)
  return new PgtsError(failure.code, `${failure.message} (given up after ${tries} attempts in ${seconds} s)`, {
    hints: failure.hints,
    cause: failure,
  })
}
