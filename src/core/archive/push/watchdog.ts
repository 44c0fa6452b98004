import { PgtsError } from '../../../util/error.ts'

/** The state of the background process, about a second after the last observation. */
export interface Observation {
  /** Iterations of the loop so far. */
  readonly turns: number
  /** Files that workers have. */
  readonly running: number
  /** Is there a file that a worker could have now: lock held, no pause? */
  readonly waits: boolean
}

/**
 * Consecutive observations. Workers that hang are ended 12 seconds after the deadline of their files; nothing else keeps
 * a file waiting while no worker has one. Observations are counted and no times compared, so that a process that was
 * stopped, or a clock that was set, is not taken for a stall.
 */
const PATIENCE = 60

/**
 * Detects that the loop does not run, or that files wait and no worker has one. Both would be faults of this program,
 * and a process that lives is not replaced. So it has to end: the next archive-push starts another, and nothing is lost.
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
        'report this fault with the log of the background process',
      ],
    })
  }
}
