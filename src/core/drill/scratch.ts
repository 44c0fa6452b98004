import { chmodSync, chownSync, closeSync, constants, ftruncateSync, readdirSync, unlinkSync, writeSync } from 'node:fs'
import { clusterIn } from '../../postgres/discover/find-clusters.ts'
import { bytes, textPath, textToBytes, type ByteString } from '../../util/byte-string.ts'
import { isAlive } from '../../util/is-alive.ts'
import { messageOf, PgtsError } from '../../util/error.ts'
import { tryLockExclusive } from '../../util/flock.ts'
import type { Logger } from '../../util/log.ts'
import { makeDirectories } from '../../util/make-directories.ts'
import { isNameOf, isOwnDirectory, openOwnFile, readBounded } from '../../util/own-file.ts'
import { makeDirectory, realPath, removeEntry, type OwnerIds } from '../restore/file-system.ts'

/** The number is part of the socket's name only: the server does not listen on TCP. */
export const DRILL_PORT = 5432

/** Locked while the drill runs. A directory with it can be removed when the lock is free. */
const MARK = 'pgts.drill'

/** `sun_path` of Linux has 108 bytes, with the zero at its end. */
const MOST_SOCKET_BYTES = 107

/** Places of a drill, as text. */
export interface ScratchPlaces {
  readonly directory: string
  readonly data: string
  /** Every tablespace is restored below it. */
  readonly tablespaces: string
  readonly socket: string
  readonly log: string
}

export interface ScratchRequest {
  /** Absolute. */
  readonly directory: string
  /** Directories of clusters and repositories: the drill is not in one of them, nor one of them in the drill. */
  readonly foreign: readonly string[]
  readonly stanza: string
  readonly startedMs: number
  readonly log: Logger
}

/** The directory of one drill: disposing it removes it with everything in it, unless it is kept. */
export interface Scratch extends ScratchPlaces, AsyncDisposable {
  /** Give the directory to the user of the server; root only. */
  giveTo(owner: OwnerIds): void
  keep(): void
}

/**
 * Create the directory, or take it over from a drill that was killed: its server is stopped and its files are removed.
 *
 * Errors: [050] another drill uses it; [040] it has files that are not of a drill; [031] its place is not allowed; [047]
 */
export async function claimScratch(request: ScratchRequest): Promise<Scratch> {
  const places = placesOf(request.directory)
  refuseForeign(request)
  prepareDirectory(places.directory)
  const fd = lockMark(places.directory)
  try {
    chmodSync(textPath(places.directory), 0o700)
    await removeLeftovers(places, request.log)
    const mark = { pid: process.pid, stanza: request.stanza, startedMs: request.startedMs }
    ftruncateSync(fd, 0)
    writeSync(fd, `${JSON.stringify(mark)}\n`, 0)
    for (const path of [places.socket, places.tablespaces]) makeDirectory(textToBytes(path), 0o700, undefined)
  } catch (error) {
    closeSync(fd)
    throw error
  }
  return claimed(places, fd)
}

function claimed(places: ScratchPlaces, fd: number): Scratch {
  let kept = false
  return {
    ...places,
    giveTo: ({ uid, gid }) => {
      for (const path of [places.directory, places.socket, places.tablespaces]) chownSync(textPath(path), uid, gid)
    },
    keep: () => {
      kept = true
    },
    [Symbol.asyncDispose]: async () => {
      try {
        if (!kept) removeContent(places.directory)
        // The mark is removed last: a directory with it can be taken over.
        unlinkSync(textPath(`${places.directory}/${MARK}`))
        if (!kept) removeEntry(textToBytes(places.directory))
      } finally {
        closeSync(fd)
      }
    },
  }
}

function placesOf(directory: string): ScratchPlaces {
  const socket = `${directory}/socket`
  const name = `${socket}/.s.PGSQL.${DRILL_PORT}`
  if (textToBytes(name).length > MOST_SOCKET_BYTES) {
    throw new PgtsError('option-invalid-value', `the path of the socket would be too long: ${name}`, {
      hints: [`set a shorter drill-path: the path may have ${MOST_SOCKET_BYTES} bytes`],
    })
  }
  return {
    directory,
    socket,
    data: `${directory}/data`,
    tablespaces: `${directory}/tablespaces`,
    log: `${directory}/server.log`,
  }
}

/** Refuses a drill in, or around, a directory of a cluster or a repository. Errors: [031] */
export function refuseForeign({ directory, foreign }: Pick<ScratchRequest, 'directory' | 'foreign'>): void {
  const own = realPath(textToBytes(directory))
  for (const path of foreign) {
    const other = realPath(textToBytes(path))
    if (!isWithin(own, other) && !isWithin(other, own)) continue
    throw new PgtsError('option-invalid', `cannot restore to '${directory}': it overlaps with '${path}'`, {
      hints: ['set drill-path to a directory outside of data directories, tablespaces and repositories'],
    })
  }
}

function isWithin(path: ByteString, directory: ByteString): boolean {
  return path === directory || path.startsWith(bytes`${directory}/`)
}

function prepareDirectory(directory: string): void {
  const parent = directory.slice(0, directory.lastIndexOf('/'))
  try {
    for (const path of [parent, directory]) {
      // A directory of another user could be replaced while the drill runs. Another user may also create it at this moment.
      if (!isOwnDirectory(path)) makeDirectories(textToBytes(path), 0o711)
      isOwnDirectory(path)
    }
  } catch (cause) {
    throw new PgtsError('path-create', `cannot use the directory '${directory}' for the drill: ${messageOf(cause)}`, {
      hints: ['set drill-path to a directory that belongs to this user'],
      cause,
    })
  }
}

/** Takes the lock, without which nothing is removed. */
function lockMark(directory: string): number {
  const path = textPath(`${directory}/${MARK}`)
  const names = readdirSync(textPath(directory))
  if (names.length > 0 && !names.includes(MARK)) {
    throw new PgtsError(
      'path-not-empty',
      `cannot restore to '${directory}': it contains files that are not of a drill`,
      {
        hints: ['remove them, for example those of a drill with --keep, or set another drill-path'],
      },
    )
  }
  const fd = openOwnFile(path, constants.O_RDWR | constants.O_CREAT, 0o600)
  // The other drill may have ended, and removed the file, after it was opened.
  if (tryLockExclusive(fd) && isNameOf(path, fd)) return fd
  const [, pid = 'unknown'] = /"pid":(\d+)/.exec(readBounded(fd).toString('latin1')) ?? []
  closeSync(fd)
  throw new PgtsError('lock-acquire', `another drill uses '${directory}': process ${pid}`, {
    hints: ['wait for its end, or use another drill-path'],
  })
}

const STOP_MS = 10_000
const POLL_MS = 50

/** Stops the server of a drill that was killed, if it still runs, and removes the files. */
async function removeLeftovers(places: ScratchPlaces, log: Logger): Promise<void> {
  if (readdirSync(textPath(places.directory)).every((name) => name === MARK)) return
  log.info(`remove what a drill left in '${places.directory}'`)
  const pid = clusterIn(places.data)?.postmaster?.pid
  if (pid !== undefined) await stopProcess(pid)
  removeContent(places.directory)
}

async function stopProcess(pid: number): Promise<void> {
  for (const signal of ['SIGQUIT', 'SIGKILL'] as const) {
    try {
      process.kill(pid, signal)
    } catch {
      return
    }
    for (let waited = 0; isAlive(pid) && waited < STOP_MS; waited += POLL_MS)
      await new Promise((resolve) => setTimeout(resolve, POLL_MS))
    if (!isAlive(pid)) return
  }
}

function removeContent(directory: string): void {
  const path = textToBytes(directory)
  for (const name of readdirSync(textPath(directory), 'latin1')) if (name !== MARK) removeEntry(bytes`${path}/${name}`)
}
