import { PgtsError } from '../../../util/error.ts'

/** After the first failure a repository is left alone for this long, then for twice as long each time. */
const FIRST_PAUSE_MS = 500
const LONGEST_PAUSE_MS = 30_000
/** However urgently somebody asks. */
const SHORTEST_PAUSE_MS = 500

export interface Trouble {
  readonly error: PgtsError
  readonly sinceMs: number
  readonly failures: number
  readonly lastTryMs: number
  nextTryMs: number
  /** A file is on its way there to see whether it works again. */
  probing: boolean
}

/**
 * Which repositories take WAL. One that fails is left alone for a while, longer with each failure, while the others go
 * on; then one file tries it, and when that arrives all others follow.
 */
export class RepositoryHealth {
  readonly #troubles = new Map<number, Trouble>()
  readonly #random: () => number

  /** @param random from 0 to 1: several servers that lost one repository must not come back in step */
  constructor(random: () => number = Math.random) {
    this.#random = random
  }

  troubleOf(key: number): Trouble | undefined {
    return this.#troubles.get(key)
  }

  get troubles(): ReadonlyMap<number, Trouble> {
    return this.#troubles
  }

  /** May a file be sent there now? */
  takes(key: number, nowMs: number): boolean {
    const trouble = this.#troubles.get(key)
    return trouble === undefined || (!trouble.probing && nowMs >= trouble.nextTryMs)
  }

  /** A file goes there. */
  sent(key: number): void {
    const trouble = this.#troubles.get(key)
    if (trouble !== undefined) trouble.probing = true
  }

  worked(key: number): void {
    this.#troubles.delete(key)
  }

  failed(key: number, error: PgtsError, nowMs: number): void {
    const before = this.#troubles.get(key)
    // Files that were sent before the first of them failed tell nothing new.
    const failures =
      before === undefined ? 1 : before.probing || nowMs >= before.nextTryMs ? before.failures + 1 : before.failures
    const pause = Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** (failures - 1))
    this.#troubles.set(key, {
      error,
      sinceMs: before?.sinceMs ?? nowMs,
      failures,
      lastTryMs: nowMs,
      nextTryMs: nowMs + pause * (0.5 + this.#random() / 2),
      probing: false,
    })
  }

  /** The file that was to try it did not come to that. */
  notTried(key: number): void {
    const trouble = this.#troubles.get(key)
    if (trouble !== undefined) trouble.probing = false
  }

  /** Somebody waits: try soon, whatever the pause. */
  hurry(nowMs: number): void {
    for (const trouble of this.#troubles.values())
      trouble.nextTryMs = Math.min(trouble.nextTryMs, Math.max(nowMs, trouble.lastTryMs + SHORTEST_PAUSE_MS))
  }

  /** When the next of them may be tried, or undefined. */
  nextTryMs(): number | undefined {
    let next: number | undefined
    for (const { probing, nextTryMs } of this.#troubles.values())
      if (!probing && (next === undefined || nextTryMs < next)) next = nextTryMs
    return next
  }
}
