import { PgtsError } from '../../../util/error.ts'

/** What the background process is doing at one look, about a second after the last. */
export interface Look {
  /** How often its loop has turned so far. */
  readonly turns: number
  /** Files that workers have. */
  readonly inHand: number
  /** Is there a file that a worker might have now: locks held, no pause due? */
  readonly waits: boolean
}

/**
 * Looks in a row. Workers that hang are ended 12 seconds after their files were given up; nothing else lets a file wait
 * beside workers that have none. Looks are counted, and no time is compared, so that a process that was stopped, or a
 * clock that was set, is no stall.
 */
const PATIENCE = 60

/**
 * Holds the background process to this: when files wait, a worker has one, and its loop turns. Where that is broken for
 * long it is by a mistake in this program, of which nobody would hear, for a process that lives is not replaced. Then
 * it has to end: the next archive-push starts another, and nothing is lost by it.
 */
export class StallGuard {
  #turns = -1
  #still = 0
  #idle = 0

  /** @returns why the process must end */
  look({ turns, inHand, waits }: Look): PgtsError | undefined {
    this.#still = turns === this.#turns ? this.#still + 1 : 0
    this.#turns = turns
    this.#idle = waits && inHand === 0 ? this.#idle + 1 : 0
    if (this.#still < PATIENCE && this.#idle < PATIENCE) return undefined
    const what = this.#still < PATIENCE ? 'WAL files wait and no worker takes one' : 'its loop stands still'
    return new PgtsError('assert', `the background process of archive-push is stuck: ${what}`, {
      hints: [
        'it ends, and the next archive-push starts another; nothing is lost',
        'this is a bug: please report it with the log of the background process',
      ],
    })
  }
}
