import { closeSync, openSync, statSync, utimesSync, watch } from 'node:fs'
import { bytes, pathOf, type ByteString } from '../../../util/byte-string.ts'
import { systemCode } from '../../../util/error.ts'
import type { SpoolPaths } from './spool-files.ts'

/** Wakes a waiting loop. Notifications are counted, so that one between the check of the loop and its wait is not lost. */
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
   * @param seen `count` before the check
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
 * Report changes in a directory. NFS reports none, and a limit of the system may be reached, so the caller also has to check
 * at intervals.
 */
export function watchDirectory(
  directory: ByteString,
  changed: (event: string, name: string | null) => void,
  failed: (error: unknown) => void = () => undefined,
): { close(): void } | undefined {
  try {
    const watcher = watch(pathOf(directory), { persistent: false }, changed)
    watcher.on('error', (error) => {
      watcher.close()
      failed(error)
    })
    return watcher
  } catch (error) {
    failed(error)
    return undefined
  }
}

/** In the directory `pgts` of the spool. A call of archive-push that waits touches it. */
export const WAKE_FILE = 'wake-push'

/** Notify the background process that a call waits. */
export function wakeBackground(spool: SpoolPaths): void {
  const path = pathOf(bytes`${spool.own}/${WAKE_FILE}`)
  const now = new Date()
  try {
    utimesSync(path, now, now)
  } catch (error) {
    if (systemCode(error) !== 'ENOENT') throw error
    closeSync(openSync(path, 'a', 0o640))
  }
}

/** Time of the last `wakeBackground`, ms since 1970; 0: never. */
export function lastWakeMs(spool: SpoolPaths): number {
  return statSync(pathOf(bytes`${spool.own}/${WAKE_FILE}`), { throwIfNoEntry: false })?.mtimeMs ?? 0
}
