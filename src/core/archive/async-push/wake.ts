import { watch, type FSWatcher } from 'node:fs'
import { closeSync, openSync, statSync, utimesSync } from 'node:fs'
import { pathOf } from '../../../util/byte-string.ts'
import { systemCode } from '../../../util/error.ts'
import type { SpoolPaths } from '../spool-files.ts'

/** Touched by whoever waits for a file. */
const WAKE = 'wake-push'

/** Tell the background process that somebody waits. */
export function ring(spool: SpoolPaths): void {
  const path = pathOf(`${spool.own}/${WAKE}`)
  const now = new Date()
  try {
    utimesSync(path, now, now)
  } catch (error) {
    if (systemCode(error) !== 'ENOENT') throw error
    closeSync(openSync(path, 'a', 0o640))
  }
}

/** Wakes its sleeper when something may have changed: in archive_status, by a ring, or because it is told. */
export class Wake implements Disposable {
  readonly #spool: SpoolPaths
  readonly #watchers: FSWatcher[] = []
  #ringMs: number
  #pending = false
  #resolve: (() => void) | undefined

  constructor(spool: SpoolPaths, walPath: string) {
    this.#spool = spool
    this.#ringMs = this.#lastRing()
    this.#watch(`${walPath}/archive_status`, (name) => name === null || /\.(ready|done)$/.test(name))
    this.#watch(spool.own, (name) => name === null || name === WAKE || name === 'cluster')
  }

  /** Has somebody rung since the last time this was asked? */
  wasRung(): boolean {
    const last = this.#lastRing()
    if (last === this.#ringMs) return false
    this.#ringMs = last
    return true
  }

  now(): void {
    this.#pending = true
    this.#resolve?.()
  }

  /** Resolves after `ms` at the latest. */
  async sleep(ms: number): Promise<void> {
    if (!this.#pending) {
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, ms)
        this.#resolve = () => {
          clearTimeout(timer)
          resolve()
        }
      })
    }
    this.#resolve = undefined
    this.#pending = false
  }

  [Symbol.dispose](): void {
    for (const watcher of this.#watchers) watcher.close()
  }

  #lastRing(): number {
    return statSync(pathOf(`${this.#spool.own}/${WAKE}`), { throwIfNoEntry: false })?.mtimeMs ?? 0
  }

  /** File systems that tell nothing, and systems that have no watches left, are looked at now and then instead. */
  #watch(directory: string, concerns: (name: string | null) => boolean): void {
    try {
      const watcher = watch(pathOf(directory), { persistent: false }, (_, name) => {
        if (concerns(name)) this.now()
      })
      watcher.on('error', () => watcher.close())
      this.#watchers.push(watcher)
    } catch {
      // see above
    }
  }
}
