import { bytesToText } from '../../../util/byte-string.ts'
import { isPgtsError, toPlainError, type PgtsError } from '../../../util/error.ts'
import type { Logger } from '../../../util/log.ts'
import { removeStatus, type SpoolPaths } from '../spool-files.ts'
import { Acknowledging } from './acknowledging.ts'
import type { FlightRequest } from './flight.ts'
import { Flights } from './flights.ts'
import { PushRecord } from './push-record.ts'
import { readPushStatus } from './push-status.ts'
import { QueueGuard } from './queue-guard.ts'
import { readReadyQueue, type ReadyQueue } from '../push/ready-queue.ts'
import { RepositoryHealth } from './repository-health.ts'
import { nextAssignment, type Assignment, type WaitingFile } from './schedule.ts'
import { REFUSED_PAUSE_MS, Settling } from './settling.ts'
import { StallGuard } from './stall-guard.ts'
import { StatusTeller, type PushView } from './status-teller.ts'
import { tidySpool } from './tidy.ts'
import { Wake } from './wake.ts'

export interface PushBackgroundRequest extends FlightRequest {
  readonly spool: SpoolPaths
  /** archive-push-queue-max, bytes. */
  readonly queueMaxBytes: number | undefined
  /** archive-push-batch-size: so much is begun at most before the queue is looked at again. */
  readonly batchBytes: number
  /** No server runs here: end as soon as the queue is empty. */
  readonly endWhenEmpty: boolean
  /** The archive lock of the stanza, shared with pgbackrest; held only while there is work. */
  readonly lock: () => Promise<AsyncDisposable>
  /** Why this process should end, asked about every second; undefined: it should not. */
  readonly endReason: () => string | undefined
  readonly log: Logger
}

const LOOK_MS = 1000
const WATCHDOG_MS = 1000
const IDLE_MS = 10 * 60_000
/** The archive lock is kept for so long after the last file, so that a busy server does not take it for each. */
const LINGER_MS = 500

/** Push what PostgreSQL wants archived, ahead of its asking, until there is a reason to end. @returns the reason */
export async function pushInBackground(request: PushBackgroundRequest): Promise<string> {
  return new PushBackground(request).run()
}

class PushBackground {
  readonly #request: PushBackgroundRequest
  readonly #keys: readonly number[]
  readonly #health = new RepositoryHealth()
  readonly #record: PushRecord
  readonly #guard: QueueGuard
  readonly #wake: Wake
  readonly #acknowledging: Acknowledging
  readonly #teller: StatusTeller
  readonly #settling: Settling
  readonly #flights: Flights
  readonly #stallGuard = new StallGuard()
  #files = new Map<string, WaitingFile>()
  #queue: ReadyQueue = { waiting: [], acknowledged: [], served: [], waitingBytes: 0, segmentBytes: 0 }
  #lock: AsyncDisposable | undefined
  #nextLockTryMs = 0
  /** Why the queue, or the archive lock, cannot be had. */
  #unreadable: string | undefined
  #unlocked: string | undefined
  /** No file is begun any more. */
  #ending = false
  #turns = 0
  #stall: PgtsError | undefined
  #begunBytes = 0
  #lookedMs = 0
  #nextLookMs = 0
  #busyMs: number

  constructor(request: PushBackgroundRequest) {
    this.#request = request
    this.#keys = request.repositories.map(({ key }) => key)
    const nowMs = request.clock.nowMs()
    this.#busyMs = nowMs
    this.#record = new PushRecord(nowMs, readPushStatus(request.spool))
    this.#guard = new QueueGuard(request)
    this.#wake = new Wake(request.spool, request.walPath)
    this.#acknowledging = new Acknowledging(request)
    this.#teller = new StatusTeller(request, { record: this.#record, health: this.#health, repoKeys: this.#keys })
    this.#settling = new Settling(request, {
      repoKeys: this.#keys,
      health: this.#health,
      record: this.#record,
      guard: this.#guard,
      acknowledging: this.#acknowledging,
      files: () => this.#files,
      tellStatus: () => this.#teller.tellNow(request.clock.nowMs(), this.#view()),
    })
    this.#flights = new Flights(request, this.#health, {
      next: () => this.#next(),
      taken: () => void (this.#begunBytes += this.#queue.segmentBytes),
      landed: (file, landing) => {
        this.#busyMs = request.clock.nowMs()
        this.#settling.landed(file, landing)
        this.#wake.now()
      },
    })
  }

  async run(): Promise<string> {
    const { signal, clock } = this.#request
    tidySpool(this.#request)
    let endHere: (error: PgtsError) => void = () => undefined
    // What stands still does not end by itself.
    const stalled = new Promise<never>((_, reject) => (endHere = reject))
    // A timer of its own: it fires whatever the pushes are doing, and the loop.
    const watchdog = setInterval(() => this.#watch(endHere), WATCHDOG_MS)
    const onAbort = () => this.#wake.now()
    signal.addEventListener('abort', onAbort)
    let why = 'an error'
    try {
      why = await Promise.race([this.#work(), stalled])
      return why
    } catch (error) {
      why = signal.aborted ? 'a signal' : toPlainError(error).message
      throw error
    } finally {
      this.#ending = true
      clearInterval(watchdog)
      signal.removeEventListener('abort', onAbort)
      this.#wake[Symbol.dispose]()
      await this.#releaseLock()
      this.#teller.tellEnd(clock.nowMs(), this.#view(), why)
    }
  }

  async #work(): Promise<string> {
    const { clock } = this.#request
    for (;;) {
      this.#turn()
      this.#look()
      const reason = this.#request.endReason() ?? this.#idleReason()
      if (reason !== undefined) {
        this.#ending = true
        for (; this.#flights.size > 0; this.#turn()) await this.#wake.sleep(LOOK_MS)
        return reason
      }
      await this.#holdLock()
      this.#flights.launch()
      this.#teller.tell(clock.nowMs(), this.#view())
      await this.#wake.sleep(this.#pauseMs())
    }
  }

  #turn(): void {
    this.#request.signal.throwIfAborted()
    if (this.#stall !== undefined) throw this.#stall
    this.#turns++
  }

  /** See what PostgreSQL wants. Costs a listing, so that it is not done for every file in a storm. */
  #look(): void {
    const { clock, spool, walPath, log } = this.#request
    const nowMs = clock.nowMs()
    if (this.#wake.wasRung()) {
      this.#health.hurry(nowMs)
      for (const { refused } of this.#files.values())
        if (refused !== undefined) refused.nextTryMs = Math.min(refused.nextTryMs, refused.lastTryMs + REFUSED_PAUSE_MS)
    }
    for (const [name, done] of this.#acknowledging.waiting()) this.#settling.acknowledge(name, done)
    if (nowMs < this.#nextLookMs) return
    this.#begunBytes = 0
    let queue: ReadyQueue
    try {
      queue = readReadyQueue(walPath, spool.out)
    } catch (error) {
      this.#unreadable = this.#block(
        `cannot see what is to be archived: ${toPlainError(error).message}`,
        this.#unreadable,
      )
      this.#nextLookMs = nowMs + LOOK_MS
      return
    }
    this.#unreadable = undefined
    for (const name of queue.served) removeStatus(spool.out, name, 'ok')
    const files = new Map<string, WaitingFile>()
    const fresh: string[] = []
    for (const name of queue.waiting) {
      let file = this.#files.get(name)
      if (file === undefined) {
        file = { name, sinceMs: nowMs, stored: new Set(), attempts: 0, inHand: false }
        fresh.push(name)
      }
      files.set(name, file)
    }
    this.#files = files
    this.#queue = queue
    this.#lookedMs = clock.nowMs()
    this.#nextLookMs = this.#lookedMs + Math.max(5, 5 * (this.#lookedMs - nowMs))
    if (files.size > 0) this.#busyMs = nowMs
    if (fresh.length > 0) {
      const [first, last] = [fresh[0] ?? '', fresh.at(-1) ?? '']
      log.info(`push ${fresh.length} WAL file(s) to archive: ${first}${first === last ? '' : `...${last}`}`)
    }
  }

  #idleReason(): string | undefined {
    if (this.#files.size > 0 || this.#flights.size > 0 || this.#acknowledging.isBehind) return undefined
    if (this.#request.endWhenEmpty) return 'nothing is left to push, and no server is running'
    return this.#request.clock.nowMs() - this.#busyMs > IDLE_MS ? 'nothing has been pushed for a while' : undefined
  }

  async #holdLock(): Promise<void> {
    const { clock, log, lock } = this.#request
    const nowMs = clock.nowMs()
    if (this.#files.size === 0 && this.#flights.size === 0) {
      if (nowMs - this.#busyMs >= LINGER_MS) await this.#releaseLock()
      return
    }
    if (this.#lock !== undefined || nowMs < this.#nextLockTryMs) return
    try {
      this.#lock = await lock()
      this.#unlocked = undefined
    } catch (error) {
      if (isPgtsError(error, 'stop')) return
      this.#nextLockTryMs = nowMs + LOOK_MS
      this.#unlocked = this.#block(toPlainError(error).message, this.#unlocked)
      log.debug(`waiting for the archive lock: ${toPlainError(error).message}`)
    }
  }

  async #releaseLock(): Promise<void> {
    const lock = this.#lock
    this.#lock = undefined
    await lock?.[Symbol.asyncDispose]()
  }

  /** Says it once. */
  #block(why: string, before: string | undefined): string {
    if (before !== why) this.#request.log.warn(`nothing can be pushed now: ${why}`)
    return why
  }

  /** The file for a worker that is free; asked when it is, and to see whether one is wanted. */
  #next(): Assignment | undefined {
    if (this.#lock === undefined || this.#ending) return undefined
    const { batchBytes, clock } = this.#request
    const next = nextAssignment(this.#files.values(), this.#keys, this.#health, clock.nowMs())
    if (next === undefined || this.#begunBytes === 0) return next
    if (this.#begunBytes + this.#queue.segmentBytes <= batchBytes) return next
    this.#nextLookMs = 0
    this.#wake.now()
    return undefined
  }

  #watch(endHere: (error: PgtsError) => void): void {
    this.#watchQueue()
    const look = { turns: this.#turns, inHand: this.#flights.size, waits: this.#next() !== undefined }
    this.#stall ??= this.#stallGuard.look(look)
    if (this.#stall !== undefined) endHere(this.#stall)
  }

  #watchQueue(): void {
    const dropped = this.#guard.watch()
    const last = dropped.at(-1)
    if (last === undefined) return
    for (const name of dropped) {
      this.#files.delete(name)
      this.#acknowledging.forget(name)
    }
    this.#record.dropped({ file: bytesToText(last), timeMs: this.#request.clock.nowMs() }, dropped.length)
    this.#nextLookMs = 0
    this.#wake.now()
  }

  #pauseMs(): number {
    const nowMs = this.#request.clock.nowMs()
    const moments = [this.#lookedMs + LOOK_MS]
    if (nowMs < this.#nextLookMs) moments.push(this.#nextLookMs)
    if (this.#lock === undefined) {
      if (this.#files.size > 0) moments.push(this.#nextLockTryMs)
    } else {
      const next = this.#health.nextTryMs()
      if (next !== undefined && this.#files.size > 0) moments.push(next)
      if (this.#files.size === 0) moments.push(this.#busyMs + LINGER_MS)
    }
    for (const { refused, inHand } of this.#files.values()) if (refused && !inHand) moments.push(refused.nextTryMs)
    return Math.min(LOOK_MS, Math.max(1, Math.min(...moments) - nowMs))
  }

  #view(): PushView {
    return {
      files: this.#files,
      inHand: this.#flights.inHand(),
      segmentBytes: this.#queue.segmentBytes,
      blocked: this.#unreadable ?? this.#unlocked ?? this.#acknowledging.trouble,
    }
  }
}
