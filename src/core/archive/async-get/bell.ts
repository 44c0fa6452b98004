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
const TELLING = new Set(['get-request', 'wake-get', 'get.lock', 'get.pid', 'cluster'])

/**
 * Hear of changes in the spool: a segment that was taken from `in/`, a request. What cannot be watched (an NFS mount
 * tells nothing, a limit is reached) is left to the caller's slow look.
 */
export function watchSpool(spool: SpoolPaths, changed: () => void): Disposable {
  const watchers = [
    // The bytes of a segment that is being fetched are no news; that a name comes or goes is.
    tryWatch(spool.in, (event) => event === 'rename', changed),
    tryWatch(spool.own, (_event, name) => name === null || TELLING.has(name), changed),
  ]
  return {
    [Symbol.dispose]() {
      for (const watcher of watchers) watcher?.close()
    },
  }
}

function tryWatch(
  directory: string,
  isNews: (event: string, name: string | null) => boolean,
  changed: () => void,
): FSWatcher | undefined {
  try {
    const watcher = watch(pathOf(directory), { persistent: false }, (event, name) => {
      if (isNews(event, name)) changed()
    })
    watcher.on('error', () => watcher.close())
    return watcher
  } catch {
    return undefined
  }
}
