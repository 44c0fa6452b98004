import { existsSync, mkdirSync, statSync, unlinkSync, watch, type FSWatcher } from 'node:fs'
import { isWalSegment, type WalSegment } from '../../../format/wal-segment.ts'
import { pathOf } from '../../../util/byte-string.ts'
import { systemCode } from '../../../util/error.ts'
import { isAlive } from '../../../util/is-alive.ts'
import type { Logger } from '../../../util/log.ts'
import { removeTreeSync } from '../../../util/remove-tree.ts'
import { renameNew } from '../../../util/rename-new.ts'
import { removeIfExists, type SpoolPaths } from '../spool/spool-files.ts'
import { namesIn } from './get-spool.ts'

export interface MoveOnRequest {
  /** Through this cluster's door: requests lie behind it, so that nobody else's come here. */
  readonly spool: SpoolPaths
  /** `RECOVERYXLOG` of the data directory, byte string. */
  readonly target: string
  /** Did this process fetch it? */
  readonly isOurs: (segment: WalSegment) => boolean
  readonly log: Logger
}

/** Left by a launcher that waited in vain: until it is gone nobody asks. */
export const UNHEARD = 'unheard'

export function requestsIn(spool: SpoolPaths): string {
  return `${spool.root}/ask`
}

/**
 * Move segments from the queue to where the server wants them, for launchers, which would have to start `mv`: one that
 * wants a segment makes an empty file `<segment>.<its process id>` in `ask/`, and looks whether the segment is gone.
 *
 * Nobody depends on an answer. The launcher has the segment open and believes only that the very same file lies at the
 * target; after some hundred looks it does without, says so with a file `unheard`, and moves the segment itself. So
 * here nothing may ever be replaced, and nothing is done for those who have died.
 *
 * Where this cannot be done (the spool is on another file system, nothing can be watched) there is no `ask/`.
 */
export function moveOnRequest(request: MoveOnRequest): Disposable {
  const mover = new Mover(request)
  mover.start()
  return { [Symbol.dispose]: () => mover.end() }
}

class Mover {
  readonly #request: MoveOnRequest
  readonly #directory: string
  #watcher: FSWatcher | undefined

  constructor(request: MoveOnRequest) {
    this.#request = request
    this.#directory = requestsIn(request.spool)
  }

  start(): void {
    const { spool, target } = this.#request
    try {
      // What was asked of another process is not for this one.
      this.#remove()
      if (deviceOf(spool.in) !== deviceOf(target.slice(0, target.lastIndexOf('/')))) return
      mkdirSync(pathOf(this.#directory), { mode: 0o700 })
      this.#watcher = watch(pathOf(this.#directory), { persistent: false }, (event, name) => {
        if (event === 'rename' && name !== null) this.#hear(name)
      })
      this.#watcher.on('error', () => this.end())
    } catch (error) {
      this.#giveUp(error)
    }
  }

  /** A name came, or went again. */
  #hear(name: string): void {
    const path = `${this.#directory}/${name}`
    try {
      // Whoever asked before that has helped itself.
      if (name === UNHEARD) return existsSync(pathOf(path)) ? this.#clear() : undefined
      const [, segment = '', pid = ''] = /^([0-9A-F]{24})\.([1-9]\d{0,9})$/.exec(name) ?? []
      // First, so that each is carried out once at most.
      if (!isWalSegment(segment) || !removed(path)) return
      if (isAlive(Number(pid)) && this.#request.isOurs(segment)) this.#move(segment)
    } catch (error) {
      this.#giveUp(error)
    }
  }

  #move(segment: WalSegment): void {
    const { spool, target } = this.#request
    try {
      renameNew(`${spool.in}/${segment}`, target)
    } catch (error) {
      // Somebody else took it, or something lies there already.
      if (systemCode(error) !== 'ENOENT' && systemCode(error) !== 'EEXIST') throw error
    }
  }

  #clear(): void {
    for (const name of namesIn(this.#directory)) removeIfExists(`${this.#directory}/${name}`)
  }

  #giveUp(error: unknown): void {
    const why = systemCode(error) ?? String(error)
    this.#request.log.detail(`launchers move what was fetched by themselves: ${why}`)
    this.end()
  }

  end(): void {
    this.#watcher?.close()
    this.#watcher = undefined
    try {
      this.#remove()
    } catch {
      // Then launchers wait for a moment before they do it themselves.
    }
  }

  /** Launchers may ask at this very moment. */
  #remove(): void {
    removeTreeSync(this.#directory)
  }
}

function deviceOf(path: string): number {
  return statSync(pathOf(path)).dev
}

function removed(path: string): boolean {
  try {
    unlinkSync(pathOf(path))
    return true
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return false
    throw error
  }
}
