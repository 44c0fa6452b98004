import { bytesToText } from '../../../util/byte-string.ts'
import { toPlainError } from '../../../util/error.ts'
import type { Logger } from '../../../util/log.ts'
import type { SpoolPaths } from '../spool-files.ts'
import type { PushRecord } from './push-record.ts'
import { writePushStatus, type PushStatus } from './push-status.ts'
import type { RepositoryHealth } from './repository-health.ts'
import type { WaitingFile } from './schedule.ts'

/** What the status is made of, besides what has happened so far. */
export interface PushView {
  /** In the order of the queue. */
  readonly files: ReadonlyMap<string, WaitingFile>
  readonly inHand: Iterable<{ readonly file: WaitingFile; readonly sinceMs: number }>
  readonly segmentBytes: number
  /** Why nothing can be done now. */
  readonly blocked: string | undefined
}

const STATUS_MS = 500
const HEARTBEAT_MS = 10_000

/** Keeps status.json: after changes, twice a second at most, and now and then without one, so that it is seen to live. */
export class StatusTeller {
  readonly #spool: SpoolPaths
  readonly #record: PushRecord
  readonly #health: RepositoryHealth
  readonly #repoKeys: readonly number[]
  readonly #limitBytes: number | undefined
  readonly #log: Logger
  #toldMs = 0
  #text = ''

  constructor(
    { spool, queueMaxBytes, log }: { spool: SpoolPaths; queueMaxBytes: number | undefined; log: Logger },
    facts: { record: PushRecord; health: RepositoryHealth; repoKeys: readonly number[] },
  ) {
    this.#spool = spool
    this.#limitBytes = queueMaxBytes
    this.#log = log
    this.#record = facts.record
    this.#health = facts.health
    this.#repoKeys = facts.repoKeys
  }

  tell(nowMs: number, view: PushView): void {
    if (nowMs - this.#toldMs >= STATUS_MS) this.tellNow(nowMs, view)
  }

  /** Without waiting for others that could be told together. */
  tellNow(nowMs: number, view: PushView): void {
    const status = this.#status(nowMs, view, '')
    const { updatedMs: _1, rate: _2, ...lasting } = status
    const text = JSON.stringify(lasting)
    if (text === this.#text && nowMs - this.#toldMs < HEARTBEAT_MS) return
    this.#text = text
    this.#toldMs = nowMs
    try {
      writePushStatus(this.#spool, status)
    } catch (error) {
      this.#log.debug(`status.json cannot be written: ${toPlainError(error).message}`)
    }
  }

  tellEnd(nowMs: number, view: PushView, why: string): void {
    try {
      writePushStatus(this.#spool, this.#status(nowMs, view, why))
    } catch {
      // The spool is gone or full; the log tells the same.
    }
  }

  #status(nowMs: number, { files, inHand, segmentBytes, blocked }: PushView, ended: string): PushStatus {
    const names = [...files.keys()].map(bytesToText)
    const first = files.values().next().value
    const why = ended !== '' ? ended : blocked
    const flying = [...inHand].map(({ file, sinceMs }) => ({ file: bytesToText(file.name), sinceMs }))
    const working = files.size > 0 || flying.length > 0
    return {
      pid: process.pid,
      state: ended !== '' ? 'ended' : blocked !== undefined ? 'blocked' : working ? 'working' : 'idle',
      why,
      ...this.#record.facts(nowMs),
      queue: {
        files: files.size,
        bytes: files.size * segmentBytes,
        ...(first === undefined ? {} : { first: names[0] ?? '', last: names.at(-1) ?? '', sinceMs: first.sinceMs }),
        limitBytes: this.#limitBytes,
      },
      inHand: flying,
      repositories: this.#repoKeys.map((key) => {
        const trouble = this.#health.troubleOf(key)
        if (trouble === undefined) return { key }
        const { sinceMs, failures, nextTryMs, error } = trouble
        return { key, trouble: { sinceMs, failures, nextTryMs, message: error.message } }
      }),
    }
  }
}
