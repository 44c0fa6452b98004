import { PgtsError } from '../../../util/error.ts'

/** The state of the background process, about a second after the last observation. */
export interface Observation {
  /** Iterations of the loop so far. */
  readonly turns: number
  /** Files that workers have. */
  readonly running: number
  /** A worker could have a file now: the lock is held, and no pause applies. */
  readonly waits: boolean
}

/**
 * Consecutive observations. Workers that hang are terminated 12 seconds after the deadline of their files; nothing else
 * keeps a file waiting while no worker has one. Observations are counted instead of comparing times, so that a stopped
 * process (SIGSTOP) or a clock change is not taken for a stall.
 */
const PATIENCE = 60

/**
 * Detects that the loop does not run, or that files wait and no worker has one. Both would be bugs. The process then has
 * to end, because a live process is not replaced; the next archive-push starts another, and nothing is lost.
 */
export class Watchdog {
  #turns = -1
  #still = 0
  #idle = 0

  /** @returns why the process must end */
  observe({ turns, running, waits }: Observation): PgtsError | undefined {
    this.#still = turns === this.#turns ? this.#still + 1 : 0
    this.#turns = turns
    this.#idle = waits && running === 0 ? this.#idle + 1 : 0
    if (this.#still < PATIENCE && this.#idle < PATIENCE) return undefined
    const what = this.#still < PATIENCE ? 'WAL files wait and no worker takes one' : 'its loop does not run'
    return new PgtsError('assert', `the background process of archive-push is stuck: ${what}`, {
      hints: [
        'the process ends, and the next archive-push starts another; nothing is lost',
        'report this bug with the log of the background process',
      ],
    })
  }
}
