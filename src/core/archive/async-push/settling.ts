import { bytesToText } from '../../../util/byte-string.ts'
import type { Clock } from '../../../util/clock.ts'
import { EXIT_CODES, fromPlainError, PgtsError, toPlainError } from '../../../util/error.ts'
import type { Logger } from '../../../util/log.ts'
import { pushFailure } from '../push.ts'
import { RepositoryFailures } from '../repository-failures.ts'
import { writeSpoolError, type SpoolPaths } from '../spool-files.ts'
import type { Acknowledging, Done } from './acknowledging.ts'
import type { Landing } from './flight.ts'
import type { PushJobResult } from './push-job.ts'
import type { PushRecord } from './push-record.ts'
import type { QueueGuard } from './queue-guard.ts'
import type { RepositoryHealth } from './repository-health.ts'
import type { WaitingFile } from './schedule.ts'

/** What is told of how a push ended. */
export interface SettlingParts {
  readonly repoKeys: readonly number[]
  readonly health: RepositoryHealth
  readonly record: PushRecord
  readonly guard: QueueGuard
  readonly acknowledging: Acknowledging
  /** What PostgreSQL wants at this moment. */
  readonly files: () => Map<string, WaitingFile>
  readonly tellStatus: () => void
}

/** A file that is torn is tried again after so long, then after twice as long each time. */
export const REFUSED_PAUSE_MS = 1000
const LONGEST_REFUSED_PAUSE_MS = 60_000

/** What follows from the end of a push: the file is safe, or a repository lacks it, or it cannot be archived as it is. */
export class Settling {
  readonly #request: { readonly spool: SpoolPaths; readonly clock: Clock; readonly log: Logger }
  readonly #parts: SettlingParts

  constructor(request: { spool: SpoolPaths; clock: Clock; log: Logger }, parts: SettlingParts) {
    this.#request = request
    this.#parts = parts
  }

  /** What has become of a file. */
  landed(file: WaitingFile, landing: Landing): void {
    switch (landing.kind) {
      case 'answered':
        return this.#settled(file, landing.result)
      case 'hung':
        return this.#hung(file, landing.stuck, landing.limitMs)
      case 'failed':
        return this.#refused(file, landing.error)
      case 'left':
    }
  }

  #settled(file: WaitingFile, result: PushJobResult): void {
    const { clock, log } = this.#request
    if (result.refused !== undefined) return this.#refused(file, fromPlainError(result.refused))
    delete file.refused
    const nowMs = clock.nowMs()
    for (const key of result.stored) {
      file.stored.add(key)
      const trouble = this.#parts.health.troubleOf(key)
      if (trouble !== undefined) log.info(`repo${key} takes WAL again, after ${trouble.failures} failure(s)`)
      this.#parts.health.worked(key)
    }
    for (const { repoKey, error } of result.failures) this.#parts.health.failed(repoKey, fromPlainError(error), nowMs)
    if (this.#parts.repoKeys.every((key) => file.stored.has(key))) {
      const warning = this.#parts.files().has(file.name) ? this.#warningFor(result.warnings) : undefined
      this.#parts.record.succeeded({ file: bytesToText(file.name), timeMs: nowMs }, result.sizeBytes)
      log.detail({ file: file.name }, `pushed WAL file '${bytesToText(file.name)}' to the archive`)
      for (const text of result.warnings) log.warn(text)
      this.acknowledge(file.name, { mtimeNs: result.mtimeNs, warning })
      return
    }
    this.#lacking(file)
  }

  #warningFor(warnings: readonly string[]): string | undefined {
    const announcement = this.#parts.guard.takeAnnouncement()
    const texts = [...warnings, ...(announcement === undefined ? [] : [announcement])]
    return texts.length === 0 ? undefined : texts.join('\n')
  }

  /** Only now may PostgreSQL be told: every repository has the file, durable. */
  acknowledge(name: string, done: Done): void {
    // Dropped meanwhile, or PostgreSQL wants it no more.
    if (!this.#parts.files().has(name)) this.#parts.acknowledging.forget(name)
    else if (this.#parts.acknowledging.tell(name, done)) this.#parts.files().delete(name)
  }

  #hung(file: WaitingFile, stuck: readonly number[], limitMs: number): void {
    const seconds = Math.round(limitMs / 100) / 10
    const nowMs = this.#request.clock.nowMs()
    if (stuck.length === 0) {
      const message = `WAL file ${file.name} was not read and prepared within ${seconds} seconds`
      return this.#refused(
        file,
        new PgtsError('archive-timeout', message, { hints: ['is this machine, or the disk of pg_wal, overloaded?'] }),
      )
    }
    for (const key of stuck) {
      const message = `the repository did not answer within ${seconds} seconds while WAL file ${file.name} was being stored`
      const hints = ['is the network or the file system of the repository stuck?']
      this.#parts.health.failed(key, new PgtsError('archive-timeout', message, { hints }), nowMs)
    }
    this.#lacking(file)
  }

  /** Some repositories do not have it yet. */
  #lacking(file: WaitingFile): void {
    const failures = new RepositoryFailures()
    for (const key of this.#parts.repoKeys) {
      const trouble = file.stored.has(key) ? undefined : this.#parts.health.troubleOf(key)
      if (trouble !== undefined) failures.add(key, trouble.error)
    }
    if (failures.count > 0) this.#fail(file, pushFailure(file.name, failures, this.#parts.repoKeys.length))
  }

  /** No repository would take it as it is. It is tried again: its cause may be mended. */
  #refused(file: WaitingFile, error: unknown): void {
    const nowMs = this.#request.clock.nowMs()
    const plain = fromPlainError(toPlainError(error))
    const pause = Math.min(LONGEST_REFUSED_PAUSE_MS, REFUSED_PAUSE_MS * 2 ** Math.min(10, file.attempts - 1))
    file.refused = { error: plain, lastTryMs: nowMs, nextTryMs: nowMs + pause * (0.5 + Math.random() / 2) }
    this.#fail(file, plain)
  }

  #fail(file: WaitingFile, error: PgtsError): void {
    const { spool, log, clock } = this.#request
    const name = bytesToText(file.name)
    this.#parts.record.failed({ file: name, timeMs: clock.nowMs() }, error)
    const code = String(EXIT_CODES[error.code]).padStart(3, '0')
    log.warn(
      { file: name },
      [
        `could not push WAL file '${name}' to the archive (will be retried): [${code}] ${error.message}`,
        ...error.hints.map((hint) => `HINT: ${hint}`),
      ].join('\n'),
    )
    // Whoever reads the error finds the status that goes with it.
    this.#parts.tellStatus()
    // Dropped meanwhile: then its `.ok` stands, and no other word is wanted.
    if (!this.#parts.files().has(file.name)) return
    try {
      writeSpoolError(spool, spool.out, file.name, error)
    } catch (cause) {
      log.warn(`the spool does not take ${name}.error: ${toPlainError(cause).message}`)
    }
  }
}
