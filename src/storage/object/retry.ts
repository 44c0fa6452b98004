import { asBytes, bytesToText, type ByteString } from '../../util/byte-string.ts'
import type { Clock } from '../../util/clock.ts'
import { isPgtsError, PgtsError } from '../../util/error.ts'
import type { Logger } from '../../util/log.ts'
import type {
  NotRemoved,
  ObjectBody,
  ObjectClient,
  ObjectEntry,
  ObjectGetRequest,
  ObjectLimits,
  ObjectListRequest,
  ObjectPage,
  ObjectPutRequest,
  ObjectUpload,
} from './client.ts'
import { AdaptiveLimit } from './concurrency.ts'
import { ContinuedBody } from './continued-body.ts'
import { withDeadline } from './deadline.ts'
import { FailureLog } from './failure-log.ts'
import { FIRST_WAIT_MS, Tries, type RetryPolicy } from './tries.ts'
import { RefusedRequestError, RetryableStoreError } from './retryable-error.ts'

export interface RetryContext {
  /** For messages: `repo1`. */
  readonly repository?: string
  readonly policy: RetryPolicy
  readonly log: Logger
  readonly clock: Clock
  /** Returns 0 to 1; for the jitter. */
  readonly random?: () => number
  readonly limit?: AdaptiveLimit
}

/** Number of retries after a refusal: few if no request of this kind was ever accepted (wrong credentials). */
const REFUSALS_AT_FIRST = 2
const REFUSALS_LATER = 5
/** Number of retries for names that a batch did not remove. */
const BATCH_RETRIES = 2
/** The abort of an upload must end in any case, and before an interrupted worker is terminated. */
const ABORT_TOTAL_MS = 8_000

/**
 * Adds retries to a client: after a RetryableStoreError with jittered and growing waits, within the limits of the
 * policy; after a RefusedRequestError a few times. A body that breaks or stalls continues where it ended. All other errors are
 * final. The adaptive limit bounds the requests in flight.
 */
export function retrying(client: ObjectClient, context: RetryContext): ObjectClient {
  return new RetryingClient(client, context)
}

class RetryingClient implements ObjectClient {
  readonly display: string
  readonly limits: ObjectLimits
  readonly putIfAbsent?: NonNullable<ObjectClient['putIfAbsent']>
  readonly abortAbandoned?: NonNullable<ObjectClient['abortAbandoned']>
  readonly #client: ObjectClient
  readonly #policy: RetryPolicy
  readonly #clock: Clock
  readonly #random: () => number
  readonly #limit: AdaptiveLimit
  readonly #failures: FailureLog
  /** Aborted when the client is closed. */
  readonly #closed = new AbortController()
  /** Kinds of requests (`read`, `write`) that the store has accepted before. */
  readonly #accepted = new Set<string>()

  constructor(client: ObjectClient, context: RetryContext) {
    this.display = client.display
    this.limits = client.limits
    this.#client = client
    this.#policy = context.policy
    this.#clock = context.clock
    this.#random = context.random ?? Math.random
    this.#limit = context.limit ?? new AdaptiveLimit(() => context.clock.nowMs())
    const store = context.repository === undefined ? client.display : `${context.repository}: ${client.display}`
    this.#failures = new FailureLog(store, context.log, context.clock)
    const { putIfAbsent, abortAbandoned } = client
    if (putIfAbsent !== undefined) this.putIfAbsent = (...all) => this.#putIfAbsent(putIfAbsent.bind(client), ...all)
    if (abortAbandoned !== undefined)
      this.abortAbandoned = (prefix, beforeMs, signal) =>
        this.#ask(
          `list the uploads below ${bytesToText(prefix)}`,
          signal,
          0,
          (inner) => abortAbandoned.call(client, prefix, beforeMs, inner),
          { ...this.#policy, totalMs: Math.min(this.#policy.totalMs, ABORT_TOTAL_MS) },
        )
  }

  head(name: ByteString, signal?: AbortSignal): Promise<ObjectEntry | undefined> {
    return this.#ask(`look up ${bytesToText(name)}`, signal, 0, (inner) => this.#client.head(name, inner))
  }

  list(request: ObjectListRequest): Promise<ObjectPage> {
    const what = `list ${bytesToText(request.prefix)}`
    return this.#ask(what, request.signal, 0, (signal) => this.#client.list({ ...request, signal }))
  }

  async get(name: ByteString, request: ObjectGetRequest = {}): Promise<ObjectBody> {
    const what = `read ${bytesToText(name)}`
    const ask = (inner: ObjectGetRequest) =>
      this.#ask(what, request.signal, 0, (signal) => this.#client.get(name, { ...inner, signal }))
    const first = await ask(request)
    return new ContinuedBody(first, first.sizeBytes ?? (await this.#sizeOf(first, name, request)), request, {
      what,
      timeoutMs: this.#policy.timeoutMs,
      again: ask,
      newTries: () => {
        const tries = this.#tries(what, this.#policy)
        return (failure) => tries.wait(failure, request.signal)
      },
    })
  }

  /**
   * For an answer without a length: only the size of the object distinguishes a truncated answer from a complete one.
   */
  async #sizeOf(body: ObjectBody, name: ByteString, { offset = 0, length, signal }: ObjectGetRequest): Promise<number> {
    try {
      const entry = await this.head(name, signal)
      if (entry === undefined) {
        throw new PgtsError(
          'file-missing',
          `cannot read ${this.display}/${bytesToText(name)}: it was removed during the operation`,
        )
      }
      const rest = Math.max(0, entry.sizeBytes - offset)
      return length === undefined ? rest : Math.min(rest, length)
    } catch (error) {
      body.cancel()
      throw error
    }
  }

  put(name: ByteString, bytes: Uint8Array, request: ObjectPutRequest): Promise<void> {
    return this.#ask(`write ${bytesToText(name)}`, request.signal, bytes.length, (signal) =>
      this.#client.put(name, bytes, { ...request, signal }),
    )
  }

  /** A lost answer may have been a success: then the bytes of the existing object are compared. */
  async #putIfAbsent(
    put: NonNullable<ObjectClient['putIfAbsent']>,
    name: ByteString,
    bytes: Uint8Array,
    request: ObjectPutRequest,
  ): Promise<boolean> {
    let tries = 0
    const created = await this.#ask(`create ${bytesToText(name)}`, request.signal, bytes.length, (signal) => {
      tries++
      return put(name, bytes, { ...request, signal })
    })
    if (created || tries === 1) return created
    const body = await this.get(name, request.signal === undefined ? {} : { signal: request.signal })
    const there: Uint8Array[] = []
    for await (const chunk of body.chunks) there.push(chunk)
    return Buffer.concat(there).equals(bytes)
  }

  async upload(name: ByteString, request: ObjectPutRequest): Promise<ObjectUpload> {
    const text = bytesToText(name)
    const upload = await this.#ask(`begin the upload of ${text}`, request.signal, 0, (signal) =>
      this.#client.upload(name, { ...request, signal }),
    )
    const sizes = new Map<number, number>()
    const sinceMs = this.#clock.nowMs()
    return {
      part: async (number, bytes, signal) => {
        await this.#ask(`write part ${number} of ${text}`, signal, bytes.length, (inner) =>
          upload.part(number, bytes, inner),
        )
        sizes.set(number, bytes.length)
      },
      complete: (signal) => this.#complete(upload, name, sum(sizes.values()), sinceMs, signal),
      abort: () => this.#abort(upload, text),
    }
  }

  /** If the answer to the first attempt was lost, the upload may be complete and then no longer exists. */
  async #complete(
    upload: ObjectUpload,
    name: ByteString,
    sizeBytes: number,
    sinceMs: number,
    signal: AbortSignal | undefined,
  ): Promise<void> {
    let tries = 0
    try {
      await this.#ask(`complete ${bytesToText(name)}`, signal, 0, (inner) => {
        tries++
        return upload.complete(inner)
      })
    } catch (error) {
      if (tries === 1 || !isPgtsError(error, 'file-missing')) throw error
      const entry = await this.head(name, signal)
      const skewMs = 15 * 60_000
      if (entry?.sizeBytes !== sizeBytes || entry.mtimeMs < sinceMs - skewMs) throw error
    }
  }

  async #abort(upload: ObjectUpload, text: string): Promise<void> {
    const totalMs = Math.min(this.#policy.totalMs, ABORT_TOTAL_MS)
    const timeoutMs = Math.min(this.#policy.timeoutMs, ABORT_TOTAL_MS)
    await this.#ask(`abort the upload of ${text}`, undefined, 0, () => upload.abort(), {
      ...this.#policy,
      totalMs,
      timeoutMs,
    })
  }

  async removeBatch(names: readonly ByteString[], signal?: AbortSignal): Promise<readonly NotRemoved[]> {
    const what =
      names.length === 1 ? `remove ${bytesToText(names[0] ?? asBytes(''))}` : `remove ${names.length} objects`
    let wanted = names
    for (let tried = 0; ; tried++) {
      const left = await this.#ask(what, signal, 0, (inner) => this.#client.removeBatch(wanted, inner))
      if (left.every(({ denied }) => denied) || tried === Math.min(BATCH_RETRIES, this.#policy.retries)) return left
      await this.#clock.sleep(this.#firstWaitMs() * (tried + 1) * (0.5 + this.#random()), signal)
      wanted = left.map(({ name }) => name)
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed.abort(new PgtsError('term', `the connection to ${this.display} was closed`))
    this.#failures.summary()
    await this.#client[Symbol.asyncDispose]()
  }

  #tries(what: string, policy: RetryPolicy): Tries {
    const refusals = this.#accepted.has(sortOf(what)) ? REFUSALS_LATER : REFUSALS_AT_FIRST
    return new Tries({ what, policy, refusals, clock: this.#clock, random: this.#random, failures: this.#failures })
  }

  #firstWaitMs(): number {
    return this.#policy.firstWaitMs ?? FIRST_WAIT_MS
  }

  /**
   * @param sendBytes size of the request body
   * @param request receives a signal that is valid until it answers; a reader of the body cancels the body instead
   */
  async #ask<T>(
    what: string,
    signal: AbortSignal | undefined,
    sendBytes: number,
    request: (signal: AbortSignal) => Promise<T>,
    policy: RetryPolicy = this.#policy,
  ): Promise<T> {
    const tries = this.#tries(what, policy)
    const closed = this.#closed.signal
    for (;;) {
      await this.#limit.enter(signal)
      const beganMs = this.#clock.nowMs()
      let outcome: Parameters<AdaptiveLimit['leave']>[0] = 'failed'
      let failure: RetryableStoreError | RefusedRequestError
      try {
        const answer = await withDeadline({ what, timeoutMs: policy.timeoutMs, sendBytes, signal }, request)
        outcome = { tookMs: this.#clock.nowMs() - beganMs }
        this.#accepted.add(sortOf(what))
        tries.succeeded()
        return answer
      } catch (error) {
        signal?.throwIfAborted()
        if (closed.aborted || !(error instanceof RetryableStoreError || error instanceof RefusedRequestError))
          throw error
        if (error instanceof RetryableStoreError && error.overloaded) outcome = 'overloaded'
        failure = error
      } finally {
        this.#limit.leave(outcome)
      }
      // A request without a caller that waits must not keep the process alive.
      await tries.wait(failure, signal === undefined ? closed : AbortSignal.any([signal, closed]))
    }
  }
}

/** `read`, `write`, ...: credentials that may read are not necessarily allowed to write. */
function sortOf(what: string): string {
  return what.slice(0, what.indexOf(' '))
}

function sum(values: Iterable<number>): number {
  let total = 0
  for (const value of values) total += value
  return total
}
