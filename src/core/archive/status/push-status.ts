import { bytes, decodeUtf8, textToBytes, type ByteString } from '../../../util/byte-string.ts'
import { messageOf, type PgtsError } from '../../../util/error.ts'
import type { Logger } from '../../../util/log.ts'
import { readIfExists, writeAtomic, type SpoolPaths } from '../spool/spool-files.ts'

/** A file and when something happened to it; times are ms since 1970. */
export interface FileEvent {
  readonly file: string
  readonly timeMs: number
}

/** `pgts/status.json` of the spool: the state of the background process of archive-push. */
export interface PushStatus {
  readonly pid: number
  /** `blocked`: it cannot work now. `ended`: the process has ended. Both with the reason in `why`. */
  readonly state: 'working' | 'idle' | 'blocked' | 'ended'
  readonly why?: string
  readonly startedMs: number
  readonly updatedMs: number
  readonly queue: {
    /** Waiting files, without acknowledged ones. */
    readonly files: number
    readonly bytes: number
    readonly first?: string
    readonly last?: string
    /** When the first of them was found. */
    readonly sinceMs?: number
    /** archive-push-queue-max. */
    readonly limitBytes?: number
  }
  /** Files that workers have. */
  readonly inHand: readonly { readonly file: string; readonly sinceMs: number }[]
  readonly lastSuccess?: FileEvent
  readonly lastFailure?: FileEvent & { readonly code: number; readonly message: string }
  /** Files that were dropped because the queue was too long, ever in this spool. */
  readonly dropped?: FileEvent & { readonly files: number }
  /** Since this process started. */
  readonly pushed: { readonly files: number; readonly bytes: number }
  /** Of the last minute, or since the process started if that is shorter. */
  readonly rate: { readonly files: number; readonly bytes: number; readonly ms: number }
  readonly repositories: readonly {
    readonly key: number
    /** Absent: it accepts WAL. */
    readonly trouble?: {
      readonly sinceMs: number
      readonly failures: number
      readonly nextTryMs: number
      readonly message: string
    }
  }[]
}

const FORMAT = 1

/** undefined: the file does not exist, or has another format. */
export function readPushStatus(spool: SpoolPaths): PushStatus | undefined {
  const file = readIfExists(statusFileOf(spool))
  if (file === undefined) return undefined
  try {
    const value = JSON.parse(decodeUtf8(file.text)) as PushStatus & { format?: unknown }
    const whole = value.format === FORMAT && typeof value.pid === 'number' && typeof value.queue?.files === 'number'
    return whole && Array.isArray(value.inHand) && Array.isArray(value.repositories) ? value : undefined
  } catch {
    return undefined
  }
}

function statusFileOf(spool: SpoolPaths): ByteString {
  return bytes`${spool.own}/status.json`
}

export function writePushStatus(spool: SpoolPaths, status: PushStatus): void {
  writeAtomic(spool, statusFileOf(spool), textToBytes(`${JSON.stringify({ format: FORMAT, ...status })}\n`))
}

const STATUS_MS = 500
const HEARTBEAT_MS = 10_000

export type OwnStatus = Omit<PushStatus, 'pid'>

/** Writes status.json: after changes, at most twice a second, and every 10 seconds without one. */
export class StatusWriter {
  readonly #spool: SpoolPaths
  readonly #log: Logger
  #writtenMs = 0
  #text = ''

  constructor({ spool, log }: { readonly spool: SpoolPaths; readonly log: Logger }) {
    this.#spool = spool
    this.#log = log
  }

  isDue(nowMs: number): boolean {
    return nowMs - this.#writtenMs >= STATUS_MS
  }

  write(status: OwnStatus): void {
    const { updatedMs, rate: _, ...lasting } = status
    const text = JSON.stringify(lasting)
    if (text === this.#text && updatedMs - this.#writtenMs < HEARTBEAT_MS) return
    this.#text = text
    this.#writtenMs = updatedMs
    try {
      writePushStatus(this.#spool, { pid: process.pid, ...status })
    } catch (error) {
      this.#log.debug(`cannot write status.json: ${messageOf(error)}`)
    }
  }
}

const RATE_MS = 60_000

/** What keeps the whole queue from being pushed: archive_status cannot be read, the archive lock, the spool is full. */
export type Obstacle = 'queue' | 'lock' | 'spool'

/** Successes, failures and obstacles so far, for status.json; the last ones of earlier processes included. */
export class PushRecord {
  readonly #startedMs: number
  readonly #recent: { readonly timeMs: number; readonly bytes: number }[] = []
  readonly #obstacles = new Map<Obstacle, string>()
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

  /** @returns the former reason */
  blocked(by: Obstacle, why: string): string | undefined {
    const before = this.#obstacles.get(by)
    this.#obstacles.set(by, why)
    return before
  }

  isBlocked(by: Obstacle): boolean {
    return this.#obstacles.has(by)
  }

  unblocked(by: Obstacle): void {
    this.#obstacles.delete(by)
  }

  /** @param ended why the process ends, when it does */
  report(nowMs: number, hasWork: boolean, ended?: string): Omit<OwnStatus, 'queue' | 'inHand' | 'repositories'> {
    while (this.#recent[0] !== undefined && this.#recent[0].timeMs < nowMs - RATE_MS) this.#recent.shift()
    const blocked = this.#obstacles.get('queue') ?? this.#obstacles.get('lock') ?? this.#obstacles.get('spool')
    return {
      state: ended !== undefined ? 'ended' : blocked !== undefined ? 'blocked' : hasWork ? 'working' : 'idle',
      why: ended ?? blocked,
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
