import { watch, type FSWatcher } from 'node:fs'
import { pathOf } from '../../../util/byte-string.ts'
import type { SpoolPaths } from '../spool-files.ts'

/** Rings for whoever waits, and counts, so that nobody sleeps through a ring between looking and waiting. */
export class Bell {
  #rings = 0
  #waiting: (() => void)[] = []

  get heard(): number {
    return this.#rings
  }

  ring(): void {
    this.#rings++
    for (const wake of this.#waiting.splice(0)) wake()
  }

  /** Resolves when it has rung since `heard`. */
  async next(heard: number): Promise<void> {
    if (this.#rings !== heard) return
    await new Promise<void>((resolve) => this.#waiting.push(resolve))
  }
}

/** Files of pgts that tell about replay; the others are of no interest here. */
const TELLING = new Set(['get-request', 'get.lock', 'get.pid', 'cluster'])

/** What is heard of the spool; names are byte strings as the file system has them. */
export interface SpoolNews {
  /** This name came into `in/`, or is gone from there; null: one of them, the system does not say which. */
  queue(name: string | null): void
  /** A request, or something that concerns this process. */
  own(): void
}

/**
 * Hear of changes in the spool: a segment that was taken from `in/`, a request. What cannot be watched (an NFS mount
 * tells nothing, a limit is reached) is left to the caller's slow look.
 */
export function watchSpool(spool: SpoolPaths, news: SpoolNews): Disposable {
  const watchers = [
    // The bytes of a segment that is being fetched are no news; that a name comes or goes is.
    tryWatch(spool.in, (event, name) => event === 'rename' && news.queue(name)),
    tryWatch(spool.own, (_event, name) => (name === null || TELLING.has(name)) && news.own()),
  ]
  return {
    [Symbol.dispose]() {
      for (const watcher of watchers) watcher?.close()
    },
  }
}

function tryWatch(directory: string, heard: (event: string, name: string | null) => unknown): FSWatcher | undefined {
  try {
    const watcher = watch(pathOf(directory), { persistent: false }, heard)
    watcher.on('error', () => watcher.close())
    return watcher
  } catch {
    return undefined
  }
}
