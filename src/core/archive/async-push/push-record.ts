import type { PgtsError } from '../../../util/error.ts'
import type { FileEvent, PushStatus } from './push-status.ts'

const RATE_MS = 60_000

/** What has happened so far, for status.json. Successes and failures of earlier processes are carried on. */
export class PushRecord {
  readonly #startedMs: number
  readonly #recent: { readonly timeMs: number; readonly bytes: number }[] = []
  #pushed = { files: 0, bytes: 0 }
  #lastSuccess: PushStatus['lastSuccess']
  #lastFailure: PushStatus['lastFailure']
  #dropped: PushStatus['dropped']

  constructor(startedMs: number, before: PushStatus | undefined) {
    this.#startedMs = startedMs
    this.#lastSuccess = before?.lastSuccess
    this.#lastFailure = before?.lastFailure
    this.#dropped = before?.dropped
  }

  get pushedFiles(): number {
    return this.#pushed.files
  }

  succeeded(event: FileEvent, bytes: number): void {
    this.#lastSuccess = event
    this.#pushed = { files: this.#pushed.files + 1, bytes: this.#pushed.bytes + bytes }
    this.#recent.push({ timeMs: event.timeMs, bytes })
  }

  failed(event: FileEvent, error: PgtsError): void {
    this.#lastFailure = { ...event, code: error.exitCode, message: error.message }
  }

  dropped(event: FileEvent, files: number): void {
    this.#dropped = { ...event, files: (this.#dropped?.files ?? 0) + files }
  }

  facts(
    nowMs: number,
  ): Pick<PushStatus, 'startedMs' | 'lastSuccess' | 'lastFailure' | 'dropped' | 'pushed' | 'rate' | 'updatedMs'> {
    while (this.#recent[0] !== undefined && this.#recent[0].timeMs < nowMs - RATE_MS) this.#recent.shift()
    return {
      startedMs: this.#startedMs,
      updatedMs: nowMs,
      lastSuccess: this.#lastSuccess,
      lastFailure: this.#lastFailure,
      dropped: this.#dropped,
      pushed: this.#pushed,
      rate: {
        files: this.#recent.length,
        bytes: this.#recent.reduce((sum, { bytes }) => sum + bytes, 0),
        ms: Math.min(RATE_MS, nowMs - this.#startedMs),
      },
    }
  }
}
