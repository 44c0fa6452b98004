import { bytes, bytesToText, type ByteString } from '../../../util/byte-string.ts'
import { EXIT_CODES, exitCodeText, fromPlainError, type PgtsError } from '../../../util/error.ts'
import { pushFailure } from './push-wal.ts'
import { RepositoryFailures } from '../repository-failures.ts'
import { type Obstacle, type OwnStatus, PushRecord } from '../status/push-status.ts'
import { logEffect, type Assignment, type PushEffect, type PushQueueSettings, type WaitingFile } from './push-effect.ts'
import type { PushJobResult } from './push-job.ts'
import { QueueLimit } from './queue-limit.ts'
import { ReadSchedule, type ReadyQueue } from './ready-queue.ts'
import { RepositoryHealth } from './repository-health.ts'
import { repoId } from '../../../util/repo-id.ts'

/** The pause after the first refusal of a file; it doubles with each further attempt. */
const REFUSED_PAUSE_MS = 1000
const LONGEST_REFUSED_PAUSE_MS = 60_000
const IDLE_MS = 10 * 60_000

/**
 * The state of the background process of archive-push: every file that PostgreSQL wants archived, from when it is found
 * until its `.ok` is written. Does no I/O and reads no clock: methods that report an event return the
 * effects that follow from it. See docs/decisions/0030-push-queue-state-machine.md.
 */
export class PushQueue {
  readonly #settings: PushQueueSettings
  readonly #health: RepositoryHealth
  readonly #record: PushRecord
  readonly #limit: QueueLimit
  readonly #reading: ReadSchedule
  /** In the order in which PostgreSQL asks for them. */
  #files = new Map<ByteString, WaitingFile>()
  /** Files that workers have, by name. PostgreSQL may no longer want one of them. */
  readonly #running = new Map<ByteString, Assignment & { readonly sinceMs: number }>()
  #segmentBytes = 0
  #busyMs: number
  #ending = false

  constructor(settings: PushQueueSettings) {
    this.#settings = settings
    this.#busyMs = settings.nowMs
    this.#health = new RepositoryHealth(settings.random)
    this.#record = new PushRecord(settings.nowMs, settings.before)
    this.#limit = new QueueLimit(settings.queueMaxBytes)
    this.#reading = new ReadSchedule(settings.batchBytes)
  }

  /** When a file last waited, or a push ended. */
  get busyMs(): number {
    return this.#busyMs
  }

  /** Files that workers have. */
  get running(): number {
    return this.#running.size
  }

  get hasWork(): boolean {
    return this.#files.size > 0 || this.#running.size > 0
  }

  /** archive-push-batch-size is used up: the queue has to be read before another file is started. */
  get batchIsUsedUp(): boolean {
    return this.#reading.isBatchUsedUp(this.#segmentBytes)
  }

  /** Something may have changed: is it time to read the queue? If not, `pauseMs` ends when it is. */
  wantsReading(nowMs: number): boolean {
    return this.#reading.wants(nowMs, this.#segmentBytes)
  }

  /** The queue was read, from `startedMs` to `nowMs`. */
  found(ready: ReadyQueue, startedMs: number, nowMs: number): PushEffect[] {
    const effects: PushEffect[] = ready.served.map((name) => ({ kind: 'remove-ok', name }))
    const files = new Map<ByteString, WaitingFile>()
    const added: ByteString[] = []
    for (const name of ready.waiting) {
      const known = this.#files.get(name)
      if (known === undefined) added.push(name)
      files.set(name, known ?? { name, sinceMs: startedMs, storedIn: new Set(), attempts: 0 })
    }
    this.#files = files
    this.#segmentBytes = ready.segmentBytes
    this.#reading.wasRead(startedMs, nowMs)
    this.#record.unblocked('queue')
    this.#clearSpoolObstacle()
    if (files.size > 0) this.#busyMs = startedMs
    if (added[0] !== undefined) {
      const names = added.length === 1 ? added[0] : bytes`${added[0]}...${added.at(-1)!}`
      effects.push(logEffect('info', `push ${added.length} WAL file(s) to archive: ${bytesToText(names)}`))
    }
    return effects
  }

  /** The queue could not be read. */
  unreadable(message: string, nowMs: number): PushEffect[] {
    this.#reading.failed(nowMs)
    return this.blocked('queue', `cannot read the archive queue: ${message}`)
  }

  /** Nothing can be pushed. Logged once for as long as the reason is the same. */
  blocked(by: Obstacle, message: string): PushEffect[] {
    const before = this.#record.blocked(by, message)
    return before === message ? [] : [logEffect('warn', `cannot push WAL now: ${message}`)]
  }

  unblocked(by: Obstacle): void {
    this.#record.unblocked(by)
  }

  /** A call of archive-push waits: retry soon everything that is paused. */
  asked(nowMs: number): void {
    this.#health.hurry(nowMs)
    for (const { refused } of this.#files.values())
      if (refused !== undefined) refused.nextTryMs = Math.min(refused.nextTryMs, refused.lastTryMs + REFUSED_PAUSE_MS)
  }

  /** The first file that some repository lacks and accepts now. */
  next(nowMs: number): Assignment | undefined {
    const { repoKeys } = this.#settings
    if (this.#ending || this.batchIsUsedUp || !repoKeys.some((key) => this.#health.accepts(key, nowMs)))
      return undefined
    for (const file of this.#files.values()) {
      // A file may have the name of one that a worker still has, and that PostgreSQL no longer wants.
      if (this.#running.has(file.name) || (file.refused !== undefined && nowMs < file.refused.nextTryMs)) continue
      const lacking = repoKeys.filter((key) => !file.storedIn.has(key) && this.#health.accepts(key, nowMs))
      if (lacking.length > 0) return { file, repoKeys: lacking }
    }
    return undefined
  }

  /** A worker has this file. */
  started({ file, repoKeys }: Assignment, nowMs: number): void {
    file.attempts++
    for (const key of repoKeys) this.#health.started(key)
    this.#running.set(file.name, { file, repoKeys, sinceMs: nowMs })
    this.#reading.started(this.#segmentBytes)
  }

  /** The push of a started file has ended, or hangs. @param result undefined: it was cancelled */
  finished(name: ByteString, result: PushJobResult | undefined, nowMs: number): PushEffect[] {
    const running = this.#running.get(name)
    if (running === undefined) return []
    this.#running.delete(name)
    for (const key of running.repoKeys) this.#health.ended(key)
    this.#busyMs = nowMs
    return result === undefined ? [] : this.#answered(running.file, result, nowMs)
  }

  okWritten(name: ByteString): void {
    this.#files.delete(name)
    this.#clearSpoolObstacle()
  }

  /** An `.ok` could not be written to the spool; it is retried, see `oksToWrite`. */
  okNotWritten(name: ByteString, message: string): PushEffect[] {
    if (this.#record.blocked('spool', message) !== undefined) return []
    return [logEffect('warn', `${message}\nHINT: free space in the file system of spool-path: pg_wal grows`, name)]
  }

  /** Files that every repository has, and whose `.ok` could not be written to the spool. */
  oksToWrite(): PushEffect[] {
    return [...this.#files.values()].flatMap(({ name, stored }) =>
      stored === undefined ? [] : { kind: 'write-ok' as const, name, stored },
    )
  }

  /** The length of the queue. Independent of `found`, so that the limit also holds while the loop does not run. */
  measured(ready: ReadyQueue): PushEffect[] {
    return this.#limit.measured(ready)
  }

  /** The files of a `drop` have their `.ok`. If a push of one of them ends later, that changes nothing. */
  dropped(names: readonly ByteString[], nowMs: number): PushEffect[] {
    for (const name of names) this.#files.delete(name)
    this.#clearSpoolObstacle()
    const last = names.at(-1)
    if (last !== undefined) this.#record.dropped({ file: bytesToText(last), timeMs: nowMs }, names.length)
    this.#reading.readNow(nowMs)
    return this.#limit.dropped(names)
  }

  /** The configuration has changed, or the process ends for another reason: start no more files. */
  end(): void {
    this.#ending = true
  }

  /** Why the process is not needed any more. @param hasServer more files may come */
  idleReason(nowMs: number, hasServer: boolean): string | undefined {
    if (this.hasWork) return undefined
    if (!hasServer) return 'nothing is left to push, and no server is running'
    return nowMs - this.#busyMs > IDLE_MS ? 'nothing has been pushed for a while' : undefined
  }

  /** How long the loop can wait, unless a push ends or something changes. */
  pauseMs(nowMs: number): number {
    if (this.batchIsUsedUp) return 0
    const times = [this.#reading.nextMs()]
    const retryMs = this.#files.size > 0 ? this.#health.nextTryMs() : undefined
    if (retryMs !== undefined) times.push(retryMs)
    for (const { name, refused } of this.#files.values())
      if (refused !== undefined && !this.#running.has(name)) times.push(refused.nextTryMs)
    return Math.max(0, Math.min(...times) - nowMs)
  }

  /** @param ended why the process ends, when it does */
  status(nowMs: number, ended?: string): OwnStatus {
    const names = [...this.#files.keys()].map(bytesToText)
    return {
      ...this.#record.report(nowMs, this.hasWork, ended),
      queue: {
        files: names.length,
        bytes: names.length * this.#segmentBytes,
        first: names[0],
        last: names.at(-1),
        sinceMs: this.#files.values().next().value?.sinceMs,
        limitBytes: this.#settings.queueMaxBytes,
      },
      inHand: [...this.#running].map(([name, { sinceMs }]) => ({ file: bytesToText(name), sinceMs })),
      repositories: this.#settings.repoKeys.map((key) => this.#health.statusOf(key)),
    }
  }

  #answered(file: WaitingFile, result: PushJobResult, nowMs: number): PushEffect[] {
    if (result.refused !== undefined) return this.#refused(file, fromPlainError(result.refused), nowMs)
    delete file.refused
    const effects: PushEffect[] = []
    // Another file may have got the name: repositories do not have that one.
    if (result.mtimeNs !== undefined && result.mtimeNs !== file.mtimeNs) {
      file.storedIn.clear()
      file.mtimeNs = result.mtimeNs
    }
    for (const key of result.stored) {
      file.storedIn.add(key)
      const outage = this.#health.outageOf(key)
      if (outage !== undefined)
        effects.push(logEffect('info', `${repoId(key)} accepts WAL again after ${outage.failures} failure(s)`))
      this.#health.worked(key)
    }
    for (const { repoKey, error } of result.failures) this.#health.failed(repoKey, fromPlainError(error), nowMs)
    const { repoKeys } = this.#settings
    if (!repoKeys.every((key) => file.storedIn.has(key))) return [...effects, ...this.#incomplete(file, nowMs)]

    const name = bytesToText(file.name)
    this.#record.succeeded({ file: name, timeMs: nowMs }, result.sizeBytes)
    effects.push(logEffect('detail', `pushed WAL file '${name}' to the archive`, file.name))
    for (const warning of result.warnings) effects.push(logEffect('warn', warning))
    if (this.#isWanted(file)) {
      const warnings = [...result.warnings, ...this.#limit.takeAnnouncement()]
      file.stored = { mtimeNs: file.mtimeNs ?? 0n, warning: warnings.length === 0 ? undefined : warnings.join('\n') }
      effects.push({ kind: 'write-ok', name: file.name, stored: file.stored })
    }
    return effects
  }

  /** Some repositories do not have the file yet. */
  #incomplete(file: WaitingFile, nowMs: number): PushEffect[] {
    const failures = new RepositoryFailures()
    for (const key of this.#settings.repoKeys) {
      const outage = file.storedIn.has(key) ? undefined : this.#health.outageOf(key)
      if (outage !== undefined) failures.add(key, outage.error)
    }
    if (failures.count === 0) return []
    return this.#failed(file, pushFailure(file.name, failures, this.#settings.repoKeys.length), nowMs)
  }

  #refused(file: WaitingFile, error: PgtsError, nowMs: number): PushEffect[] {
    const pauseMs = Math.min(LONGEST_REFUSED_PAUSE_MS, REFUSED_PAUSE_MS * 2 ** Math.min(10, file.attempts - 1))
    file.refused = { lastTryMs: nowMs, nextTryMs: nowMs + pauseMs * (0.5 + this.#settings.random() / 2) }
    return this.#failed(file, error, nowMs)
  }

  #failed(file: WaitingFile, error: PgtsError, nowMs: number): PushEffect[] {
    const name = bytesToText(file.name)
    this.#record.failed({ file: name, timeMs: nowMs }, error)
    const code = exitCodeText(EXIT_CODES[error.code])
    const message = `could not push WAL file '${name}' to the archive (will be retried): ${code} ${error.message}`
    return [
      logEffect('warn', [message, ...error.hints.map((hint) => `HINT: ${hint}`)].join('\n'), file.name),
      // A caller that reads the error must find a status that includes it.
      { kind: 'write-status' },
      ...(this.#isWanted(file) ? [{ kind: 'write-error' as const, name: file.name, error }] : []),
    ]
  }

  /** False: the file was dropped, or PostgreSQL no longer wants it, or wants another file of this name. */
  #isWanted(file: WaitingFile): boolean {
    return this.#files.get(file.name) === file
  }

  #clearSpoolObstacle(): void {
    if (this.#record.isBlocked('spool') && this.oksToWrite().length === 0) this.#record.unblocked('spool')
  }
}
