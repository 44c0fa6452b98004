import { statSync } from 'node:fs'
import { bytesToText, pathOf } from '../../../util/byte-string.ts'
import type { Clock } from '../../../util/clock.ts'
import { PgtsError } from '../../../util/error.ts'
import type { Logger } from '../../../util/log.ts'
import { droppedWarning, GAP_HINT } from '../dropped.ts'
import { GLOBAL, isAbout, readSpoolOutcome, removeStatus, type SpoolOutcome, type SpoolPaths } from '../spool-files.ts'
import { lockFileOf } from '../spool-identity.ts'
import { inSpool, requireRoom } from '../spool-trouble.ts'
import { livingPid, tryHold } from '../spool-lock.ts'
import { readPushStatus } from './push-status.ts'
import { dropQueue } from './queue-limit.ts'
import { readReadyQueue } from './ready-queue.ts'
import { ring } from './wake.ts'

export interface AwaitPushRequest {
  /** Name of the WAL file, byte string. */
  readonly file: string
  /** Its directory, absolute byte string. */
  readonly walPath: string
  readonly spool: SpoolPaths
  /** The spool as long as it is this cluster's; only here an `.ok` is believed, and one is written only here. */
  readonly door: SpoolPaths
  /** archive-timeout. */
  readonly timeoutMs: number
  /** archive-push-queue-max, bytes. */
  readonly queueMaxBytes: number | undefined
  /** Start the background process. */
  readonly start: () => Promise<{ readonly pid: number; ended(): string | undefined }>
  /** Log of the background process, for messages. */
  readonly logFile: string
  readonly clock: Clock
  readonly log: Logger
  readonly signal: AbortSignal
}

export type AwaitedPush =
  | { readonly outcome: 'pushed'; readonly warning?: string }
  /** The queue was too long, so the file was given up. */
  | { readonly outcome: 'dropped'; readonly warning: string }

const FIRST_PAUSE_MS = 5
const LONGEST_PAUSE_MS = 100
/** How often the queue is measured, and whether a background process lives. */
const CARE_MS = 1000
/** A background process that ends at once is started again, but not for ever. */
const MOST_STARTS = 3

/**
 * Wait until the background process says that a file is safe. It is started when none lives; an error that it left
 * before is given a new chance first.
 *
 * @throws PgtsError what the background process says of the file; archive-timeout with what is known of the cause;
 *   execute when it cannot be started
 * @throws SpoolTrouble when the spool cannot be written, so that no word of the background process will come
 */
export async function awaitPush(request: AwaitPushRequest): Promise<AwaitedPush> {
  return new Waiting(request).run()
}

class Waiting {
  readonly #request: AwaitPushRequest
  #started: { readonly pid: number; ended(): string | undefined } | undefined
  #starts = 0

  constructor(request: AwaitPushRequest) {
    this.#request = request
  }

  async run(): Promise<AwaitedPush> {
    const { spool, file, clock, signal, timeoutMs } = this.#request
    const beganMs = clock.nowMs()
    const first = await inSpool(() => this.#look())
    if (first.kind === 'ok') return this.#pushed(first)
    await inSpool(() => {
      requireRoom(spool)
      removeStatus(spool.out, file, 'error')
      removeStatus(spool.out, GLOBAL, 'error')
      // In this order: who sleeps hears it, who is just ending is replaced.
      ring(spool)
    })
    if (livingPid(spool, 'push') === undefined) await this.#start()

    let caredMs = beganMs
    for (let pauseMs = FIRST_PAUSE_MS; ; pauseMs = Math.min(LONGEST_PAUSE_MS, pauseMs * 1.5)) {
      await clock.sleep(pauseMs, signal)
      const now = await inSpool(() => this.#look())
      if (now.kind === 'ok') return this.#pushed(now)
      if (now.kind === 'error') throw now.error
      const nowMs = clock.nowMs()
      if (nowMs - caredMs >= CARE_MS) {
        caredMs = nowMs
        requireRoom(spool)
        const dropped = this.#dropWhenTooLong()
        if (dropped !== undefined) return dropped
        await this.#keepAlive()
      }
      if (nowMs - beganMs >= timeoutMs) throw this.#timeout()
    }
  }

  #look(): SpoolOutcome {
    const { spool, door, file, walPath } = this.#request
    const outcome = readSpoolOutcome(door.out, file)
    if (outcome.kind !== 'ok') return outcome
    const wal = statSync(pathOf(`${walPath}/${file}`), { bigint: true, throwIfNoEntry: false })
    if (isAbout(outcome, wal?.mtimeNs)) return outcome
    // About another file that had the name before it.
    removeStatus(spool.out, file, 'ok')
    return { kind: 'none' }
  }

  #pushed({ warning, skippedCode }: SpoolOutcome & { kind: 'ok' }): AwaitedPush {
    const { file } = this.#request
    if (skippedCode !== undefined) {
      const name = bytesToText(file)
      return {
        outcome: 'pushed',
        warning: `WAL file '${name}' was skipped by hand: its error file was renamed to .ok; the error was [${String(skippedCode).padStart(3, '0')}] ${warning ?? ''}\n${GAP_HINT}`,
      }
    }
    return { outcome: 'pushed', ...(warning === undefined ? {} : { warning }) }
  }

  async #start(): Promise<void> {
    this.#starts++
    this.#started = await this.#request.start()
  }

  /** A background process may die at any moment, and its number may be another's by now: only its lock is proof. */
  async #keepAlive(): Promise<void> {
    const { spool } = this.#request
    if (this.#started !== undefined && this.#started.ended() === undefined) return
    const lock = await inSpool(() => tryHold(lockFileOf(spool, 'push')))
    if (lock === undefined) return ring(spool)
    lock.release()
    const how = this.#started?.ended()
    if (this.#starts >= MOST_STARTS && how !== undefined) {
      throw new PgtsError('execute', `the background process ended ${how}`, { hints: [this.#logHint()] })
    }
    await this.#start()
  }

  /** The background process does this too, but it may be dead or stuck, and the disk of the server fills. */
  #dropWhenTooLong(): AwaitedPush | undefined {
    const { queueMaxBytes: limit, spool, door, walPath, file, log } = this.#request
    if (limit === undefined) return undefined
    const { waiting, waitingBytes } = readReadyQueue(walPath, spool.out)
    if (waitingBytes <= limit) return undefined
    try {
      dropQueue(door, walPath, waiting, limit)
    } catch (error) {
      log.debug(`the queue could not be dropped as a whole: ${String(error)}`)
    }
    return { outcome: 'dropped', warning: `${droppedWarning(file, limit)}\n${GAP_HINT}` }
  }

  #timeout(): PgtsError {
    const { timeoutMs, file, spool, clock } = this.#request
    const seconds = Math.round(timeoutMs / 100) / 10
    const message = `WAL file '${bytesToText(file)}' was not pushed by the background process within ${seconds} seconds`
    return new PgtsError('archive-timeout', message, {
      hints: [...this.#findings(spool, clock.nowMs()), this.#logHint()],
    })
  }

  /** Which layer is at fault, as far as it can be told from here. */
  #findings(spool: SpoolPaths, nowMs: number): string[] {
    const hints: string[] = []
    const pid = livingPid(spool, 'push')
    const status = readPushStatus(spool)
    if (pid === undefined) {
      const how = this.#started?.ended()
      hints.push(`no background process is running${how === undefined ? '' : `: the last one ended ${how}`}`)
    }
    if (status === undefined) return [...hints, 'it has left no word about itself yet']
    const ago = (ms: number) => `${Math.max(0, Math.round((nowMs - ms) / 1000))} seconds ago`
    if (status.state === 'blocked') hints.push(`it cannot work: ${status.why ?? ''}`)
    for (const { key, trouble } of status.repositories) {
      if (trouble !== undefined) hints.push(`repo${key} fails since ${ago(trouble.sinceMs)}: ${trouble.message}`)
    }
    const { lastFailure, lastSuccess, queue, rate, inHand } = status
    if (lastFailure !== undefined && lastFailure.timeMs > (lastSuccess?.timeMs ?? 0)) {
      const code = String(lastFailure.code).padStart(3, '0')
      hints.push(`last error (${ago(lastFailure.timeMs)}, ${lastFailure.file}): [${code}] ${lastFailure.message}`)
    }
    const oldest = inHand[0]
    if (oldest !== undefined) {
      hints.push(
        `${inHand.length} file(s) are being pushed, ${oldest.file} since ${ago(oldest.sinceMs)}: is the repository slow?`,
      )
    }
    hints.push(
      `${queue.files} file(s) wait, ${rate.files} were pushed in the last ${Math.round(rate.ms / 1000)} seconds, ` +
        `the last ${lastSuccess === undefined ? 'never' : ago(lastSuccess.timeMs)}`,
    )
    return hints
  }

  #logHint(): string {
    return `the log of the background process tells more: ${this.#request.logFile}`
  }
}
