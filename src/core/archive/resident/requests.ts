import { existsSync, renameSync } from 'node:fs'
import { bytes, bytesToText, pathOf, type ByteString } from '../../../util/byte-string.ts'
import type { Clock } from '../../../util/clock.ts'
import { messageOf, systemCode } from '../../../util/error.ts'
import { isAlive } from '../../../util/is-alive.ts'
import type { Logger } from '../../../util/log.ts'
import { answerLauncher } from './answer-launcher.ts'
import { Notifier, watchDirectory } from '../spool/notifier.ts'
import { namesIn, removeIfExists } from '../spool/spool-files.ts'

/**
 * Requests of launchers to a resident process, docs/decisions/0036-resident-process.md. A launcher creates an empty file
 * `<WAL file>.<its process id>` in the directory of the resident process and keeps it open. The process renames it: `.run`
 * while it works on it, then to the answer. It removes the file if Node has to handle the call. The launcher
 * accepts an answer only if it is the file that it has open, so no answer to another request is taken for this one.
 * It looks for the answer when a `sleep` of its own has ended, which the process therefore kills.
 */
export type ResidentAnswer = 'done' | 'missing'

export interface ServeRequest {
  /** Directory of the requests, byte string; only this user can write there. */
  readonly directory: ByteString
  /** Carries out one request. An error: Node handles the call, and this process ends. */
  readonly handle: (file: ByteString, call: ResidentCall) => Promise<ResidentAnswer>
  /** Why this process should end; called before each request and once a second. */
  readonly endReason: () => string | undefined
  /** End after this time without a request, ms. */
  readonly idleMs: number
  /** Called when no request has come for some seconds, once until the next request. */
  readonly onQuiet?: () => void
  /** Called before this waits for the requests that it has cancelled. */
  readonly onEnd: () => void
  readonly clock: Clock
  readonly log: Logger
  readonly signal: AbortSignal
}

export interface ResidentCall {
  /** Aborted if the launcher does not wait any more, or this process ends. */
  readonly signal: AbortSignal
  /** False if the launcher does not wait any more. */
  isWaiting(): boolean
}

const TICK_MS = 1000
const QUIET_MS = 5000
/** PostgreSQL makes one call at a time; other tools make several. Node handles what exceeds this. */
const MOST_RUNNING = 4
const REQUEST = /^((?:[0-9A-F]{24}|[0-9A-F]{8}\.history)\.([1-9]\d{0,9}))(\.run|\.done|\.missing)?$/

/**
 * Answer requests until there is a reason to end.
 *
 * @returns the reason
 * @throws the reason of the signal
 */
export async function serveRequests(request: ServeRequest): Promise<string> {
  return new RequestServer(request).run()
}

interface Running extends ResidentCall {
  readonly abort: AbortController
  readonly ended: Promise<void>
}

class RequestServer {
  readonly #request: ServeRequest
  readonly #notifier = new Notifier()
  /** By name of the request. */
  readonly #running = new Map<string, Running>()
  #busyMs: number
  #isQuiet = false
  #failed: string | undefined

  constructor(request: ServeRequest) {
    this.#request = request
    this.#busyMs = request.clock.nowMs()
  }

  async run(): Promise<string> {
    const { directory, signal } = this.#request
    const notify = () => this.#notifier.notify()
    const unwatched = (error: unknown) => this.#fail(`its directory cannot be watched: ${messageOf(error)}`)
    const watcher = watchDirectory(
      directory,
      (_, name) => {
        if (name === null || REQUEST.exec(name)?.[3] === undefined) notify()
      },
      unwatched,
    )
    signal.addEventListener('abort', notify)
    try {
      for (;;) {
        const seen = this.#notifier.count
        signal.throwIfAborted()
        const quietMs = this.#quietMs()
        const reason = this.#failed ?? this.#request.endReason() ?? this.#idle(quietMs)
        if (reason !== undefined) return reason
        this.#noteQuiet(quietMs)
        this.#look()
        await this.#notifier.wait(seen, TICK_MS)
      }
    } finally {
      this.#request.onEnd()
      signal.removeEventListener('abort', notify)
      watcher?.close()
      for (const { abort } of this.#running.values()) abort.abort()
      await Promise.all([...this.#running.values()].map(({ ended }) => ended))
    }
  }

  #fail(why: string): void {
    this.#failed ??= why
    this.#notifier.notify()
  }

  /** Time without a request. */
  #quietMs(): number {
    const nowMs = this.#request.clock.nowMs()
    // The clock may be set back.
    if (this.#running.size > 0 || nowMs < this.#busyMs) this.#busyMs = nowMs
    return nowMs - this.#busyMs
  }

  #idle(quietMs: number): string | undefined {
    return quietMs >= this.#request.idleMs ? 'it was idle' : undefined
  }

  #noteQuiet(quietMs: number): void {
    const isQuiet = quietMs >= QUIET_MS
    if (isQuiet && !this.#isQuiet) this.#request.onQuiet?.()
    this.#isQuiet = isQuiet
  }

  #look(): void {
    const { directory } = this.#request
    for (const { abort, isWaiting } of this.#running.values()) if (!isWaiting()) abort.abort()
    for (const found of namesIn(directory)) {
      const [, name, pid, state] = REQUEST.exec(found) ?? []
      if (name === undefined) continue
      const path = bytes`${directory}/${found}`
      const lives = isAlive(Number(pid))
      if (state !== undefined) {
        // Launchers do not remove their files: that would start a process.
        if (!lives) removeIfExists(path)
      } else if (lives && this.#running.size < MOST_RUNNING) this.#start(name as ByteString, Number(pid))
      else answerLauncher(path, Number(pid), () => removeIfExists(path))
    }
  }

  #start(name: ByteString, pid: number): void {
    const { directory, handle, signal, clock, log } = this.#request
    const file = name.slice(0, name.lastIndexOf('.')) as ByteString
    const request = bytes`${directory}/${name}`
    const run = bytes`${request}.run`
    if (!moved(request, run)) return
    const abort = new AbortController()
    const call: ResidentCall = {
      signal: AbortSignal.any([signal, abort.signal]),
      isWaiting: () => isAlive(pid) && existsSync(pathOf(run)),
    }
    const work = async () => {
      try {
        const answer = await handle(file, call)
        answerLauncher(run, pid, () => moved(run, bytes`${request}.${answer}`))
      } catch (error) {
        answerLauncher(run, pid, () => removeIfExists(run))
        if (call.signal.aborted) return
        log.detail(`${bytesToText(file)} is left to another process: ${messageOf(error)}`)
        this.#fail('a request failed')
      } finally {
        this.#running.delete(name)
        this.#busyMs = clock.nowMs()
      }
    }
    const ended = work().catch((error: unknown) => this.#fail(messageOf(error)))
    this.#running.set(name, { ...call, abort, ended })
  }
}

/** @returns false if the launcher has removed its request */
function moved(from: ByteString, to: ByteString): boolean {
  try {
    renameSync(pathOf(from), pathOf(to))
    return true
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return false
    throw error
  }
}
