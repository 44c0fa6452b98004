import { watch, type FSWatcher } from 'node:fs'
import { pathOf } from '../../../util/byte-string.ts'

/** Wakes a loop that waits. Notifications are counted: one that comes between a look and the wait is not lost. */
export class Notifier {
  #count = 0
  readonly #waiting = new Set<() => void>()

  get count(): number {
    return this.#count
  }

  notify(): void {
    this.#count++
    for (const wake of [...this.#waiting]) wake()
  }

  /**
   * Resolves at the first notification after `seen`, or after `timeoutMs`.
   *
   * @param seen `count` before the look
   */
  async wait(seen: number, timeoutMs?: number): Promise<void> {
    if (this.#count !== seen) return
    await new Promise<void>((resolve) => {
      const wake = () => {
        clearTimeout(timer)
        this.#waiting.delete(wake)
        resolve()
      }
      const timer = timeoutMs === undefined ? undefined : setTimeout(wake, timeoutMs)
      this.#waiting.add(wake)
    })
  }
}

/**
 * Report changes in a directory. Where that is not possible (NFS reports none, a limit of the system is reached) nothing
 * is reported, so the caller has to look at intervals, too.
 */
export function watchDirectory(
  directory: string,
  changed: (event: string, name: string | null) => void,
): { close(): void } | undefined {
  try {
    const watcher: FSWatcher = watch(pathOf(directory), { persistent: false }, changed)
    watcher.on('error', () => watcher.close())
    return watcher
  } catch {
    return undefined
  }
}
