import { statSync } from 'node:fs'
import { bytes, bytesToText, pathOf, type ByteString } from '../../../util/byte-string.ts'
import type { Clock } from '../../../util/clock.ts'
import { exitCodeText, PgtsError } from '../../../util/error.ts'
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

/** A background process that this process has started. */
export interface BackgroundProcess {
  readonly pid: number
  /** How it ended, to follow 'it ended': `with exit code 41`, `of SIGKILL`. undefined while it runs. */
  ended(): string | undefined
}

export interface AwaitPushRequest {
  /** Name of the WAL file, byte string. */
  readonly file: ByteString
  /** Directory of the WAL file, absolute byte string. */
  readonly walPath: ByteString
  readonly spool: SpoolPaths
  /** The same spool through the owner directory: `.ok` files are read and written only there. */
  readonly owned: SpoolPaths
  /** archive-timeout. */
  readonly timeoutMs: number
  /** archive-push-queue-max, bytes. */
  readonly queueMaxBytes: number | undefined
  /** Start the background process. */
  readonly start: () => Promise<BackgroundProcess>
  /** Hints for the timeout: why the file was not pushed, and what to do. Errors are ignored. */
  readonly explain: (file: string) => Promise<readonly string[]>
  /** Log of the background process, for messages. */
  readonly logFile: string
  readonly clock: Clock
  readonly log: Logger
  readonly signal: AbortSignal
}

export interface AwaitedPush {
  /** The queue was longer than archive-push-queue-max. */
  readonly dropped: boolean
  readonly warning?: string
}

const FIRST_PAUSE_MS = 5
const LONGEST_PAUSE_MS = 100
/** How often the queue and the background process are checked. */
const CHECK_MS = 1000
/** How many times one call starts a background process that ends at once. */
const MOST_STARTS = 3

/**
 * Wait until the background process has acknowledged a file. Starts the process if none is running. An error of an earlier
 * attempt is removed, and the file is retried first.
 *
 * @throws PgtsError the error that the background process reports for the file; archive-timeout with the known causes;
 *   execute when it cannot be started
 * @throws SpoolError when the spool cannot be written, so that the background process cannot answer
 */
export async function awaitPush(request: AwaitPushRequest): Promise<AwaitedPush> {
  return new Waiting(request).run()
}

class Waiting {
  readonly #request: AwaitPushRequest
  #started: BackgroundProcess | undefined
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
      // Wake first: a live process reacts; one that is ending is detected below and restarted.
      wakeBackground(spool)
    })
    if (livingPid(spool, 'push') === undefined) await this.#start()

    let checkedMs = beganMs
    for (let pauseMs = FIRST_PAUSE_MS; ; pauseMs = Math.min(LONGEST_PAUSE_MS, pauseMs * 1.5)) {
      await clock.sleep(pauseMs, signal)
      const now = await inSpool(() => this.#look())
      if (now.kind === 'ok') return this.#pushed(now)
      if (now.kind === 'error') throw now.error
      const nowMs = clock.nowMs()
      if (nowMs - checkedMs >= CHECK_MS) {
        checkedMs = nowMs
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
    const wal = statSync(pathOf(bytes`${walPath}/${file}`), { bigint: true, throwIfNoEntry: false })
    if (isAbout(outcome, wal?.mtimeNs)) return outcome
    // It acknowledges an earlier file of this name.
    removeStatus(spool.out, file, 'ok')
    return { kind: 'none' }
  }

  #pushed({ warning, skippedCode }: SpoolOutcome & { kind: 'ok' }): AwaitedPush {
    const { file } = this.#request
    if (skippedCode !== undefined) {
      const name = bytesToText(file)
      return {
        dropped: false,
        warning: `WAL file '${name}' was skipped by the operator (its error file was renamed to .ok); the error was ${exitCodeText(skippedCode)} ${warning ?? ''}\n${GAP_HINT}`,
      }
    }
    return { dropped: false, warning }
  }

  async #start(): Promise<void> {
    this.#starts++
    this.#started = await this.#request.start()
  }

  /** The process can end at any time, and its process id can be reused: only the lock shows that it is running. */
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

  /** The background process does this, too, but it may be stuck while the disk of the server fills up. */
  #dropWhenTooLong(): AwaitedPush | undefined {
    const { queueMaxBytes: limit, spool, owned, walPath, file, log } = this.#request
    if (limit === undefined) return undefined
    const { waiting, waitingBytes } = readReadyQueue(walPath, spool.out)
    if (waitingBytes <= limit) return undefined
    try {
      dropQueue(owned, walPath, waiting, limit)
    } catch (error) {
      log.debug(`cannot drop the whole queue: ${String(error)}`)
    }
    return { dropped: true, warning: `${droppedWarning(file, limit)}\n${GAP_HINT}` }
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

  /** Known only if this process has started it. */
  #howItEnded(): string[] {
    const how = this.#started?.ended()
    if (how === undefined || livingPid(this.#request.spool, 'push') !== undefined) return []
    return [
      `no background process is running: the last one ended ${how}; the next attempt of PostgreSQL starts another`,
    ]
  }

  #logHint(): string {
    return `see the log of the background process: ${this.#request.logFile}`
  }
}
