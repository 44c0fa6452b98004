import { readdirSync, statSync } from 'node:fs'
import { bytesToText, pathOf } from '../../../util/byte-string.ts'
import type { Clock } from '../../../util/clock.ts'
import { isPgtsError, toPlainError } from '../../../util/error.ts'
import type { Logger } from '../../../util/log.ts'
import { isAbout, readSpoolOutcome, removeIfThere, removeStatus, type SpoolPaths } from '../spool-files.ts'
import { Acknowledging } from './acknowledging.ts'
import { fly, type FlightRequest } from './flight.ts'
import { PushRecord } from './push-record.ts'
import { readPushStatus } from './push-status.ts'
import { QueueGuard } from './queue-guard.ts'
import { readReadyQueue, type ReadyQueue } from './ready-queue.ts'
import { RepositoryHealth } from './repository-health.ts'
import { nextAssignment, type Assignment, type WaitingFile } from './schedule.ts'
import { REFUSED_PAUSE_MS, Settling } from './settling.ts'
import { StatusTeller, type PushView } from './status-teller.ts'
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
  readonly clock: Clock
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

interface InHand {
  readonly file: WaitingFile
  readonly sinceMs: number
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
  readonly #inHand = new Map<string, InHand>()
  #files = new Map<string, WaitingFile>()
  #queue: ReadyQueue = { waiting: [], acknowledged: [], served: [], waitingBytes: 0, segmentBytes: 0 }
  #lock: AsyncDisposable | undefined
  #nextLockTryMs = 0
  /** Why the queue, or the archive lock, cannot be had. */
  #unreadable: string | undefined
  #unlocked: string | undefined
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
  }

  async run(): Promise<string> {
    const { signal, clock } = this.#request
    this.#tidy()
    // A timer of its own: it fires whatever the pushes are doing.
    const watchdog = setInterval(() => this.#watchQueue(), WATCHDOG_MS)
    const onAbort = () => this.#wake.now()
    signal.addEventListener('abort', onAbort)
    let why = 'an error'
    try {
      for (;;) {
        signal.throwIfAborted()
        this.#look()
        const reason = this.#request.endReason() ?? this.#idleReason()
        if (reason !== undefined) {
          why = reason
          break
        }
        await this.#holdLock()
        this.#assign()
        this.#teller.tell(clock.nowMs(), this.#view())
        await this.#wake.sleep(this.#pauseMs())
      }
      while (this.#inHand.size > 0) {
        signal.throwIfAborted()
        await this.#wake.sleep(LOOK_MS)
      }
      return why
    } catch (error) {
      why = signal.aborted ? 'a signal' : toPlainError(error).message
      throw error
    } finally {
      clearInterval(watchdog)
      signal.removeEventListener('abort', onAbort)
      this.#wake[Symbol.dispose]()
      await this.#releaseLock()
      this.#teller.tellEnd(clock.nowMs(), this.#view(), why)
    }
  }

  /** What an earlier process left: its errors are out of date, and an `.ok` that is older than its file lies. */
  #tidy(): void {
    const { spool, walPath } = this.#request
    for (const name of readdirSync(pathOf(spool.out), { encoding: 'latin1' })) {
      if (!name.endsWith('.ok')) removeIfThere(`${spool.out}/${name}`)
    }
    for (const name of readReadyQueue(walPath, spool.out).acknowledged) {
      const outcome = readSpoolOutcome(spool.out, name)
      const file = statSync(pathOf(`${walPath}/${name}`), { bigint: true, throwIfNoEntry: false })
      if (!isAbout(outcome, file?.mtimeNs)) removeStatus(spool.out, name, 'ok')
    }
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
    this.#begunBytes = 0
    this.#lookedMs = clock.nowMs()
    this.#nextLookMs = this.#lookedMs + Math.max(5, 5 * (this.#lookedMs - nowMs))
    if (files.size > 0) this.#busyMs = nowMs
    if (fresh.length > 0) {
      const [first, last] = [fresh[0] ?? '', fresh.at(-1) ?? '']
      log.info(`push ${fresh.length} WAL file(s) to archive: ${first}${first === last ? '' : `...${last}`}`)
    }
  }

  #idleReason(): string | undefined {
    if (this.#files.size > 0 || this.#inHand.size > 0 || this.#acknowledging.isBehind) return undefined
    if (this.#request.endWhenEmpty) return 'nothing is left to push, and no server is running'
    return this.#request.clock.nowMs() - this.#busyMs > IDLE_MS ? 'nothing has been pushed for a while' : undefined
  }

  async #holdLock(): Promise<void> {
    const { clock, log, lock } = this.#request
    const nowMs = clock.nowMs()
    if (this.#files.size === 0 && this.#inHand.size === 0) {
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

  #assign(): void {
    if (this.#lock === undefined) return
    const { executor, batchBytes, clock } = this.#request
    while (this.#inHand.size < executor.workers) {
      if (this.#begunBytes > 0 && this.#begunBytes + this.#queue.segmentBytes > batchBytes) {
        this.#wake.now()
        return
      }
      const assignment = nextAssignment(this.#files.values(), this.#keys, this.#health, clock.nowMs())
      if (assignment === undefined) return
      this.#begunBytes += this.#queue.segmentBytes
      void this.#push(assignment)
    }
  }

  /** One file on its way, until it is settled. Never rejects. */
  async #push(assignment: Assignment): Promise<void> {
    const { clock } = this.#request
    const { file, repoKeys } = assignment
    file.inHand = true
    file.attempts++
    for (const key of repoKeys) this.#health.sent(key)
    this.#inHand.set(file.name, { file, sinceMs: clock.nowMs() })
    await fly(this.#request, assignment, (landing) => {
      file.inHand = false
      this.#inHand.delete(file.name)
      for (const key of repoKeys) this.#health.notTried(key)
      this.#busyMs = clock.nowMs()
      this.#settling.landed(file, landing)
      this.#wake.now()
    })
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
      inHand: this.#inHand.values(),
      segmentBytes: this.#queue.segmentBytes,
      blocked: this.#unreadable ?? this.#unlocked ?? this.#acknowledging.trouble,
    }
  }
}
