import { existsSync, mkdirSync, statSync, unlinkSync } from 'node:fs'
import { isWalSegment, type WalSegment } from '../../../format/wal-segment.ts'
import { bytes, pathOf, type ByteString } from '../../../util/byte-string.ts'
import { systemCode } from '../../../util/error.ts'
import { isAlive } from '../../../util/is-alive.ts'
import type { Logger } from '../../../util/log.ts'
import { removeTreeSync } from '../../../util/remove-tree.ts'
import { renameNew } from '../../../util/rename-new.ts'
import { watchDirectory } from '../spool/notifier.ts'
import { namesIn, readIfExists, removeIfExists, writeAtomic, type SpoolPaths } from '../spool/spool-files.ts'

/** Written by a call of archive-get that returns this segment. */
export interface SegmentRequest {
  readonly segment: WalSegment
  /** Unique for each call, to recognise a second request for the same segment. */
  readonly call: string
}

/** @throws the error of the system */
export function writeRequest(spool: SpoolPaths, { segment, call }: SegmentRequest): void {
  writeAtomic(spool, bytes`${spool.own}/get-request`, `${segment}\n${call}\n`)
}

/** The last request; undefined if there is none, or it is invalid. */
export function readRequest(spool: SpoolPaths): SegmentRequest | undefined {
  const [segment = '', call = ''] = readIfExists(bytes`${spool.own}/get-request`)?.text.split('\n') ?? []
  return isWalSegment(segment) && call !== '' ? { segment, call } : undefined
}

export interface MoveOnRequest {
  /** Through the owner directory of this cluster: requests of other clusters are created elsewhere. */
  readonly spool: SpoolPaths
  /** `RECOVERYXLOG` of the data directory, byte string. */
  readonly target: ByteString
  /** Did this process fetch it? */
  readonly isOurs: (segment: WalSegment) => boolean
  readonly log: Logger
}

/** Created by a launcher whose request was not carried out in time: while it exists, launchers make no requests. */
export const UNHEARD = 'unheard'

export function requestsIn(spool: SpoolPaths): ByteString {
  return bytes`${spool.root}/ask`
}

/**
 * Move segments from the queue to the path where the server expects them, on behalf of launchers, which would have to
 * start `mv`. A launcher creates an empty file `<segment>.<its process id>` in `ask/`, and checks whether the segment has
 * left the queue.
 *
 * Launchers work without this process, too. A launcher has the segment open and compares it with the file at the target;
 * after a few hundred checks it creates a file `unheard` and moves the segment itself. A file at the target is never
 * replaced, and requests of dead processes are ignored.
 *
 * If this is impossible (the spool is on another file system, or cannot be watched), `ask/` does not exist.
 */
export function moveOnRequest(request: MoveOnRequest): Disposable {
  const mover = new Mover(request)
  mover.start()
  return mover
}

class Mover implements Disposable {
  readonly #request: MoveOnRequest
  readonly #directory: ByteString
  #watcher: { close(): void } | undefined

  constructor(request: MoveOnRequest) {
    this.#request = request
    this.#directory = requestsIn(request.spool)
  }

  start(): void {
    const { spool, target } = this.#request
    try {
      // Remove requests to an earlier process.
      this.#remove()
      if (deviceOf(spool.in) !== deviceOf(target.slice(0, target.lastIndexOf('/')))) return
      mkdirSync(pathOf(this.#directory), { mode: 0o700 })
      this.#watcher = watchDirectory(
        this.#directory,
        (event, name) => event === 'rename' && name !== null && this.#changed(name),
        (error) => this.#giveUp(error),
      )
    } catch (error) {
      this.#giveUp(error)
    }
  }

  /** A name was created or removed. */
  #changed(name: string): void {
    const path = bytes`${this.#directory}/${name}`
    try {
      // Launchers with older requests move their segments themselves.
      if (name === UNHEARD) return existsSync(pathOf(path)) ? this.#clear() : undefined
      const [, segment = '', pid = ''] = /^([0-9A-F]{24})\.([1-9]\d{0,9})$/.exec(name) ?? []
      // Removed first, so that each request is carried out at most once.
      if (!isWalSegment(segment) || !removed(path)) return
      if (isAlive(Number(pid)) && this.#request.isOurs(segment)) this.#move(segment)
    } catch (error) {
      this.#giveUp(error)
    }
  }

  #move(segment: WalSegment): void {
    const { spool, target } = this.#request
    try {
      renameNew(bytes`${spool.in}/${segment}`, target)
    } catch (error) {
      // Another process took it, or the target exists.
      if (systemCode(error) !== 'ENOENT' && systemCode(error) !== 'EEXIST') throw error
    }
  }

  #clear(): void {
    for (const name of namesIn(this.#directory)) removeIfExists(bytes`${this.#directory}/${name}`)
  }

  #giveUp(error: unknown): void {
    const why = systemCode(error) ?? String(error)
    this.#request.log.detail(`launchers move fetched segments themselves: ${why}`)
    this[Symbol.dispose]()
  }

  [Symbol.dispose](): void {
    this.#watcher?.close()
    this.#watcher = undefined
    try {
      this.#remove()
    } catch {
      // Launchers then wait for a short time before they move segments themselves.
    }
  }

  /** Launchers may create requests at the same time. */
  #remove(): void {
    removeTreeSync(this.#directory)
  }
}

function deviceOf(path: ByteString): number {
  return statSync(pathOf(path)).dev
}

function removed(path: ByteString): boolean {
  try {
    unlinkSync(pathOf(path))
    return true
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return false
    throw error
  }
}
