import { statSync } from 'node:fs'
import { bytesToText, pathOf } from '../../../util/byte-string.ts'
import type { Clock } from '../../../util/clock.ts'
import { PgtsError } from '../../../util/error.ts'
import type { Logger } from '../../../util/log.ts'
import {
  GLOBAL,
  inSpool,
  isAbout,
  readSpoolOutcome,
  removeStatus,
  requireRoom,
  type SpoolOutcome,
  type SpoolPaths,
} from '../spool/spool-files.ts'
import { lockFileOf } from '../spool/spool-owner.ts'
import { livingPid, tryHold } from '../spool/spool-lock.ts'
import { dropQueue, droppedWarning, GAP_HINT } from './queue-limit.ts'
import { readReadyQueue } from './ready-queue.ts'
import { wakeBackground } from '../spool/notifier.ts'

export interface AwaitPushRequest {
  /** Name of the WAL file, byte string. */
  readonly file: string
  /** Its directory, absolute byte string. */
  readonly walPath: string
  readonly spool: SpoolPaths
  /** The spool as long as it is this cluster's; only here an `.ok` is believed, and one is written only here. */
  readonly owned: SpoolPaths
  /** archive-timeout. */
  readonly timeoutMs: number
  /** archive-push-queue-max, bytes. */
  readonly queueMaxBytes: number | undefined
  /** Start the background process. */
  readonly start: () => Promise<{ readonly pid: number; ended(): string | undefined }>
  /** Asked when the time is over: which part of the way is at fault, and what to do next? What it throws is left out. */
  readonly explain: (file: string) => Promise<readonly string[]>
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
 * @throws SpoolError when the spool cannot be written, so that no word of the background process will come
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
      wakeBackground(spool)
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
      if (nowMs - beganMs >= timeoutMs) throw await this.#timeout()
    }
  }

  #look(): SpoolOutcome {
    const { spool, owned, file, walPath } = this.#request
    const outcome = readSpoolOutcome(owned.out, file)
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
    return { outcome: 'pushed', warning }
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
    if (lock === undefined) return wakeBackground(spool)
    lock.release()
    const how = this.#started?.ended()
    if (this.#starts >= MOST_STARTS && how !== undefined) {
      throw new PgtsError('execute', `the background process ended ${how}`, { hints: [this.#logHint()] })
    }
    await this.#start()
  }

  /** The background process does this too, but it may be dead or stuck, and the disk of the server fills. */
  #dropWhenTooLong(): AwaitedPush | undefined {
    const { queueMaxBytes: limit, spool, owned, walPath, file, log } = this.#request
    if (limit === undefined) return undefined
    const { waiting, waitingBytes } = readReadyQueue(walPath, spool.out)
    if (waitingBytes <= limit) return undefined
    try {
      dropQueue(owned, walPath, waiting, limit)
    } catch (error) {
      log.debug(`the queue could not be dropped as a whole: ${String(error)}`)
    }
    return { outcome: 'dropped', warning: `${droppedWarning(file, limit)}\n${GAP_HINT}` }
  }

  async #timeout(): Promise<PgtsError> {
    const { timeoutMs, file, explain } = this.#request
    const seconds = Math.round(timeoutMs / 100) / 10
    const name = bytesToText(file)
    return new PgtsError(
      'archive-timeout',
      `WAL file '${name}' was not pushed by the background process within ${seconds} seconds`,
      { hints: [...this.#howItEnded(), ...(await explain(name).catch(() => [])), this.#logHint()] },
    )
  }

  /** What only the process knows that started it. */
  #howItEnded(): string[] {
    const how = this.#started?.ended()
    if (how === undefined || livingPid(this.#request.spool, 'push') !== undefined) return []
    return [`no background process is running: the last one ended ${how}; PostgreSQL's next try starts another`]
  }

  #logHint(): string {
    return `the log of the background process tells more: ${this.#request.logFile}`
  }
}
