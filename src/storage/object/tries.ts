import type { Clock } from '../../util/clock.ts'
import { PgtsError } from '../../util/error.ts'
import type { Incident } from './incident.ts'
import { StoreRefusal, RetryableStoreError } from './retryable-error.ts'

export interface RetryPolicy {
  /** Further tries after the first. */
  readonly retries: number
  /** No further try begins when this has passed since the first, milliseconds. */
  readonly totalMs: number
  /** An answer, or more of it, has to come within this, milliseconds. */
  readonly timeoutMs: number
  /** The first wait, about; each further one is about twice as long, up to `longestWaitMs`. */
  readonly firstWaitMs?: number
  readonly longestWaitMs?: number
}

export const FIRST_WAIT_MS = 200
const LONGEST_WAIT_MS = 30_000

export interface TriesContext {
  /** The request, for messages: `read backup/main/...`. */
  readonly what: string
  readonly policy: RetryPolicy
  /** Further tries after refusals. */
  readonly refusals: number
  readonly clock: Clock
  readonly random: () => number
  readonly incident: Incident
}

/** The tries of one request. */
export class Tries {
  readonly #context: TriesContext
  readonly #sinceMs: number
  #failed = 0
  #refused = 0
  #refusal: StoreRefusal | undefined

  constructor(context: TriesContext) {
    this.#context = context
    this.#sinceMs = context.clock.nowMs()
  }

  /** Waits until the next try may begin. @throws the failure when there is none any more */
  async wait(failure: RetryableStoreError | StoreRefusal, signal: AbortSignal | undefined): Promise<void> {
    const { what, policy, refusals, clock, random, incident } = this.#context
    const { retries, totalMs, timeoutMs, firstWaitMs = FIRST_WAIT_MS, longestWaitMs = LONGEST_WAIT_MS } = policy
    const growing = Math.min(longestWaitMs, firstWaitMs * 2 ** this.#failed)
    const spentMs = clock.nowMs() - this.#sinceMs
    // From half of it to all of it, so that many workers do not come back at once.
    const jittered = growing * (0.5 + random() / 2)
    // A store may ask for an hour. That must neither hang the request nor end it: half of what is left leaves more tries.
    const asked = (failure instanceof RetryableStoreError ? failure.retryAfterMs : undefined) ?? 0
    const waitMs = Math.max(jittered, Math.min(asked, timeoutMs, (totalMs - spentMs) / 2))
    const exhausted = ++this.#failed > retries || spentMs + waitMs > totalMs
    if (failure instanceof StoreRefusal) {
      if (exhausted || ++this.#refused > refusals) throw failure
      this.#refusal ??= failure
    } else {
      if (exhausted) throw givenUp(failure, this.#failed, spentMs)
      incident.trouble(`cannot ${what}: ${failure.message}`, waitMs, spentMs)
    }
    await clock.sleep(waitMs, signal)
  }

  succeeded(): void {
    const { what, incident } = this.#context
    if (this.#refusal !== undefined) incident.passedRefusal(`cannot ${what}: ${this.#refusal.message}`)
  }
}

function givenUp(trouble: RetryableStoreError, tries: number, spentMs: number): PgtsError {
  if (tries === 1) return trouble
  const seconds = (spentMs / 1000).toFixed(1)
  return new PgtsError(trouble.code, `${trouble.message} (given up after ${tries} tries in ${seconds} s)`, {
    hints: trouble.hints,
    cause: trouble,
  })
}
