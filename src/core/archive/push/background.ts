import { readdirSync, statSync } from 'node:fs'
import { bytes, bytesToText, pathOf, type ByteString } from '../../../util/byte-string.ts'
import { isPgtsError, messageOf, type PgtsError } from '../../../util/error.ts'
import type { Logger } from '../../../util/log.ts'
import { lastWakeMs, Notifier, WAKE_FILE, watchDirectory } from '../spool/notifier.ts'
import {
  isAbout,
  readSpoolOutcome,
  removeIfExists,
  removeStatus,
  writeOk,
  writeSpoolError,
  type SpoolPaths,
} from '../spool/spool-files.ts'
import { readPushStatus, StatusWriter } from '../status/push-status.ts'
import type { PushEffect } from './push-effect.ts'
import { PushQueue } from './push-queue.ts'
import { PushSlots, type PushSlotsRequest } from './push-slots.ts'
import { dropQueue } from './queue-limit.ts'
import { readReadyQueue } from './ready-queue.ts'
import { TimesRecorder } from './times-recorder.ts'
import { Watchdog } from './watchdog.ts'

export interface PushBackgroundRequest extends PushSlotsRequest {
  /** Every repository, by its key. */
  readonly repoKeys: readonly number[]
  readonly spool: SpoolPaths
  /** archive-push-queue-max, bytes. */
  readonly queueMaxBytes: number | undefined
  /** archive-push-batch-size: at most this much is started before the queue is read again. */
  readonly batchBytes: number
  /** No server is running: end when the queue is empty. */
  readonly endWhenEmpty: boolean
  /** The archive lock of the stanza, shared with pgbackrest; held only while files are pushed. */
  readonly lock: () => Promise<AsyncDisposable>
  /** Directory of the stop files, byte string: a change there wakes the loop, which then also notices a short stop. */
  readonly lockPath: ByteString
  /** Why this process should end; undefined: it should continue. Called in every iteration. */
  readonly endReason: () => string | undefined
  readonly log: Logger
}

const LONGEST_PAUSE_MS = 1000
const WATCHDOG_MS = 1000
const LOCK_RETRY_MS = 1000
/** The archive lock is kept for this time after the last file, so that it is not taken for each file of a busy server. */
const LINGER_MS = 500

/**
 * Push the files that PostgreSQL wants archived before it calls archive-push for them, until there is a reason to end.
 *
 * @returns the reason
 *
 * @throws PgtsError assert when the watchdog finds the process stuck; the reason of the signal
 */
export async function pushInBackground(request: PushBackgroundRequest): Promise<string> {
  return new PushBackground(request).run()
}

/** The loop: does the I/O, reports events to the `PushQueue`, and carries out the effects. */
class PushBackground {
  readonly #request: PushBackgroundRequest
  readonly #queue: PushQueue
  readonly #slots: PushSlots
  readonly #status: StatusWriter
  readonly #times: TimesRecorder
  readonly #notifier = new Notifier()
  readonly #watchdog = new Watchdog()
  #lock: AsyncDisposable | undefined
  #nextLockTryMs = Number.NEGATIVE_INFINITY
  #wakeMs: number
  #turns = 0
  #stalled: PgtsError | undefined

  constructor(request: PushBackgroundRequest) {
    this.#request = request
    this.#wakeMs = lastWakeMs(request.spool)
    this.#status = new StatusWriter(request)
    this.#times = new TimesRecorder({
      stanza: request.job.stanza,
      async write(jobs, signal) {
        for await (const _ of request.executor.run('record-times', jobs, { signal, singly: true }));
      },
      signal: request.signal,
    })
    this.#queue = new PushQueue({
      ...request,
      before: readPushStatus(request.spool),
      nowMs: request.clock.nowMs(),
      random: Math.random,
    })
    this.#slots = new PushSlots(request, {
      next: () => this.#next(),
      started: (assignment) => {
        this.#queue.started(assignment, request.clock.nowMs())
        if (this.#queue.batchIsUsedUp) this.#notifier.notify()
      },
      ended: ({ file }, result) => {
        this.#times.stored(file.name, result?.times)
        this.#apply(this.#queue.finished(file.name, result, request.clock.nowMs()))
        this.#notifier.notify()
      },
    })
  }

  async run(): Promise<string> {
    const { signal, walPath, spool, lockPath, clock } = this.#request
    removeStaleStatus(this.#request)
    let endHere: (error: PgtsError) => void = () => undefined
    const stalled = new Promise<never>((_, reject) => (endHere = reject))
    // A timer of its own: it also runs while the loop and the pushes wait.
    const watchdog = setInterval(() => this.#watch(endHere), WATCHDOG_MS)
    const notify = () => this.#notifier.notify()
    const watchers = [
      watchDirectory(bytes`${walPath}/archive_status`, (_, name) => {
        if (name === null || /\.(ready|done)$/.test(name)) notify()
      }),
      watchDirectory(spool.own, (_, name) => {
        if (name === null || name === WAKE_FILE || name === 'cluster') notify()
      }),
      watchDirectory(lockPath, (_, name) => {
        if (name === null || name.endsWith('.stop')) notify()
      }),
    ]
    signal.addEventListener('abort', notify)
    let why = 'an error'
    try {
      why = await Promise.race([this.#work(), stalled])
      return why
    } catch (error) {
      why = signal.aborted ? 'a signal' : messageOf(error)
      throw error
    } finally {
      this.#queue.end()
      clearInterval(watchdog)
      signal.removeEventListener('abort', notify)
      for (const watcher of watchers) watcher?.close()
      await this.#releaseLock()
      this.#status.write(this.#queue.status(clock.nowMs(), why))
    }
  }

  async #work(): Promise<string> {
    const { clock, endReason, endWhenEmpty } = this.#request
    for (;;) {
      const seen = this.#notifier.count
      this.#turn()
      this.#look()
      const reason = endReason() ?? this.#queue.idleReason(clock.nowMs(), !endWhenEmpty)
      if (reason !== undefined) {
        this.#queue.end()
        for (let seen = this.#notifier.count; this.#queue.running > 0; seen = this.#notifier.count, this.#turn())
          await this.#notifier.wait(seen, LONGEST_PAUSE_MS)
        await this.#times.end()
        return reason
      }
      await this.#holdLock()
      this.#slots.fill()
      this.#times.writeIfDue(clock.nowMs())
      if (this.#status.isDue(clock.nowMs())) this.#status.write(this.#queue.status(clock.nowMs()))
      await this.#notifier.wait(seen, this.#pauseMs())
    }
  }

  #turn(): void {
    this.#request.signal.throwIfAborted()
    if (this.#stalled !== undefined) throw this.#stalled
    this.#turns++
  }

  /** Read the queue if it is time. */
  #look(): void {
    const { clock, spool, walPath } = this.#request
    const startedMs = clock.nowMs()
    const wakeMs = lastWakeMs(spool)
    if (wakeMs !== this.#wakeMs) this.#queue.asked(startedMs)
    this.#wakeMs = wakeMs
    this.#apply(this.#queue.oksToWrite())
    if (!this.#queue.wantsReading(startedMs)) return
    let ready
    try {
      ready = readReadyQueue(walPath, spool.out)
    } catch (error) {
      return this.#apply(this.#queue.unreadable(messageOf(error), clock.nowMs()))
    }
    this.#apply(this.#queue.found(ready, startedMs, clock.nowMs()))
  }

  #next() {
    return this.#lock === undefined ? undefined : this.#queue.next(this.#request.clock.nowMs())
  }

  async #holdLock(): Promise<void> {
    const { clock, log, lock } = this.#request
    const nowMs = clock.nowMs()
    if (!this.#isBusy(nowMs)) {
      // In the pause after a failure other commands can run, for example the stanza-create that the archive lacks.
      if (this.#queue.hasWork || nowMs - this.#queue.busyMs >= LINGER_MS) await this.#releaseLock()
      return
    }
    if (this.#lock !== undefined || nowMs < this.#nextLockTryMs) return
    try {
      this.#lock = await lock()
      this.#queue.unblocked('lock')
    } catch (error) {
      if (isPgtsError(error, 'stop')) return
      this.#nextLockTryMs = nowMs + LOCK_RETRY_MS
      this.#apply(this.#queue.blocked('lock', messageOf(error)))
      log.debug(`waiting for the archive lock: ${messageOf(error)}`)
    }
  }

  /** A file is being pushed, or can be pushed now. */
  #isBusy(nowMs: number): boolean {
    return this.#queue.running > 0 || this.#queue.next(nowMs) !== undefined
  }

  async #releaseLock(): Promise<void> {
    const lock = this.#lock
    this.#lock = undefined
    await lock?.[Symbol.asyncDispose]()
  }

  #pauseMs(): number {
    const { clock } = this.#request
    const nowMs = clock.nowMs()
    const pauses = [LONGEST_PAUSE_MS, this.#queue.pauseMs(nowMs)]
    if (this.#lock === undefined && this.#isBusy(nowMs)) pauses.push(this.#nextLockTryMs - nowMs)
    if (this.#lock !== undefined && !this.#queue.hasWork) pauses.push(this.#queue.busyMs + LINGER_MS - nowMs)
    return Math.max(1, Math.min(...pauses))
  }

  #watch(endHere: (error: PgtsError) => void): void {
    this.#measure()
    const waits = this.#next() !== undefined
    this.#stalled ??= this.#watchdog.observe({ turns: this.#turns, running: this.#queue.running, waits })
    if (this.#stalled !== undefined) endHere(this.#stalled)
  }

  #measure(): void {
    const { queueMaxBytes, walPath, spool, log } = this.#request
    if (queueMaxBytes === undefined) return
    try {
      this.#apply(this.#queue.measured(readReadyQueue(walPath, spool.out)))
    } catch (error) {
      log.warn(`cannot apply archive-push-queue-max: ${messageOf(error)}`)
    }
  }

  #apply(effects: readonly PushEffect[]): void {
    for (const effect of effects) this.#carryOut(effect)
  }

  #carryOut(effect: PushEffect): void {
    const { spool, walPath, log, clock } = this.#request
    switch (effect.kind) {
      case 'log':
        return effect.file === undefined
          ? log[effect.level](effect.message)
          : log[effect.level]({ file: bytesToText(effect.file) }, effect.message)
      case 'write-status':
        return this.#status.write(this.#queue.status(clock.nowMs()))
      case 'remove-ok':
        return removeStatus(spool.out, effect.name, 'ok')
      case 'write-ok': {
        const error = errorOf(() => writeOk(spool, spool.out, effect.name, effect.stored))
        if (error === undefined) {
          this.#times.acknowledged(effect.name, clock.nowMs())
          return this.#queue.okWritten(effect.name)
        }
        const path = bytesToText(bytes`${spool.out}/${effect.name}.ok`)
        return this.#apply(this.#queue.okNotWritten(effect.name, `cannot write '${path}' to the spool: ${error}`))
      }
      case 'write-error': {
        const error = errorOf(() => writeSpoolError(spool, spool.out, effect.name, effect.error))
        if (error !== undefined) log.warn(`cannot write '${bytesToText(effect.name)}.error' to the spool: ${error}`)
        return
      }
      case 'drop': {
        const { names, limitBytes } = effect
        dropQueue(spool, walPath, names, limitBytes)
        this.#apply(this.#queue.dropped(names, clock.nowMs()))
        return this.#notifier.notify()
      }
    }
  }
}

function errorOf(work: () => void): string | undefined {
  try {
    work()
    return undefined
  } catch (error) {
    return messageOf(error)
  }
}

/** Remove the status files of an earlier process: every `.error`, and each `.ok` that is about another file. */
function removeStaleStatus({ spool, walPath }: PushBackgroundRequest): void {
  for (const name of readdirSync(pathOf(spool.out), { encoding: 'latin1' })) {
    if (!name.endsWith('.ok')) removeIfExists(bytes`${spool.out}/${name}`)
  }
  for (const name of readReadyQueue(walPath, spool.out).acknowledged) {
    const outcome = readSpoolOutcome(spool.out, name)
    const file = statSync(pathOf(bytes`${walPath}/${name}`), { bigint: true, throwIfNoEntry: false })
    if (!isAbout(outcome, file?.mtimeNs)) removeStatus(spool.out, name, 'ok')
  }
}
