import { closeSync, constants, ftruncateSync, readFileSync, unlinkSync, writeSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { textPath } from './byte-string.ts'
import { PgtsError } from './error.ts'
import { tryLockExclusive, tryLockShared } from './flock.ts'
import { waitForWriters } from './lock-writers.ts'
import { lockHints, prepareLockPath, reasonOf } from './lock-path.ts'
import { isNameOf, openOwnFile, readBounded } from './own-file.ts'
import {
  lockNames,
  parseLockContent,
  serialiseLockContent,
  type LockContent,
  type LockProgress,
  type LockType,
} from './lock-file.ts'

export type { LockProgress, LockType } from './lock-file.ts'
export { readAllLocks, readLocks, type HeldLock } from './lock-read.ts'
export { assertNotStopped, stopFileOf } from './stop-file.ts'

export interface LockRequest {
  /** Absolute directory, created when absent. */
  readonly lockPath: string
  readonly stanza: string
  readonly types: readonly LockType[]
  /** Keys; repo1 is 1. */
  readonly repoKeys: readonly number[]
  /** `<pid>-<8 hex digits>`, one for each run of a command; its serving processes have the same. */
  readonly execId: string
}

/** Locks that are held until disposed or until this process ends. */
export interface Locks extends AsyncDisposable {
  /**
   * Writes progress to the lock files, from which `info` of pgts and of pgBackRest reads it.
   *
   * @param repoKey the repository that is written to, locks of other repositories show no progress; absent: all
   */
  update(progress: LockProgress, repoKey?: number): void
}

/**
 * Takes the locks of a stanza, all or none, under the names of pgBackRest 2.59 (one for each repository) and of 2.45
 * (one for all), so that pgts and either version of pgBackRest exclude each other on this host (repository-format 8.4).
 * pgts commands on different repositories share the lock named as in 2.45. A lock that a process with the same exec-id holds
 * counts as taken: a command and its serving process can use the same lock path.
 *
 * @throws lock-acquire when another command holds a lock or its file cannot be opened
 */
export async function acquireLocks(request: LockRequest): Promise<Locks> {
  const held = new HeldLocks(request.execId)
  prepareLockPath(request.lockPath)
  try {
    // Every command uses the same order, so that two commands cannot take one lock each and both fail.
    for (const { name, repoKey } of lockNames(request.stanza, request.types, request.repoKeys)) {
      const file = await acquireFile(`${request.lockPath}/${name}`, repoKey, request.execId)
      if (file !== undefined) held.add(file)
    }
    if (request.types.includes('backup'))
      for (const repoKey of request.repoKeys) await waitForWriters(request.lockPath, request.stanza, repoKey)
    held.write({})
    return held
  } catch (error) {
    await held[Symbol.asyncDispose]()
    throw error
  }
}

interface HeldFile {
  readonly path: string
  readonly fd: number
  /** Absent: the name of pgBackRest 2.45. */
  readonly repoKey?: number
  /** A shared file is written only by a process that held it exclusively when it took the lock. */
  readonly writes: boolean
}

class HeldLocks implements Locks {
  readonly #files: HeldFile[] = []
  readonly #execId: string

  constructor(execId: string) {
    this.#execId = execId
  }

  add(file: HeldFile): void {
    this.#files.push(file)
  }

  update(progress: LockProgress, repoKey?: number): void {
    try {
      this.write(progress, repoKey)
    } catch {
      // The file system of the lock path may become full during a long backup. Then only progress is missing.
    }
  }

  write(progress: LockProgress, repoKey?: number): void {
    const content = Buffer.from(serialiseLockContent({ execId: this.#execId, pid: process.pid, ...progress }))
    for (const file of this.#files) {
      if (!file.writes || (repoKey !== undefined && file.repoKey !== undefined && file.repoKey !== repoKey)) continue
      try {
        // In this order a reader never sees an empty file.
        writeSync(file.fd, content, 0, content.length, 0)
        ftruncateSync(file.fd, content.length)
      } catch (cause) {
        throw lockFileError(file.path, cause)
      }
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const { path, fd, repoKey } of this.#files.splice(0).reverse()) {
      try {
        // Unlinked while it is locked, but not while another command shares it: that command would hold an unlinked
        // file, and pgBackRest 2.45 could lock a new one.
        if (repoKey !== undefined || (tryLockExclusive(fd) && isNameOf(textPath(path), fd))) unlinkSync(textPath(path))
      } catch {
        // The directory was cleaned up. A file that stays is not locked and has no effect.
      }
      closeSync(fd)
    }
  }
}

/** @returns undefined if another process with this exec-id holds the lock */
async function acquireFile(path: string, repoKey: number | undefined, execId: string): Promise<HeldFile | undefined> {
  for (let attempt = 1; ; attempt++) {
    const fd = openLockFile(path)
    let locked = false
    try {
      const alone = tryLockExclusive(fd)
      // The previous process may have unlinked the file between our open and our lock.
      locked = (repoKey === undefined ? tryLockShared(fd) : alone) && isNameOf(textPath(path), fd)
      if (locked) return { path, fd, writes: alone, repoKey }
      if (!alone && contentOf(fd)?.execId === execId) return undefined
      // A reader (`info`) holds the lock for a moment to test it; a command holds it for longer.
      if (attempt === ATTEMPTS) throw heldError(path, fd)
    } catch (error) {
      throw error instanceof PgtsError ? error : lockFileError(path, error)
    } finally {
      if (!locked) closeSync(fd)
    }
    await sleep(RETRY_MS)
  }
}

const ATTEMPTS = 4
const RETRY_MS = 30
const LOCK_FILE_MODE = 0o640

function openLockFile(path: string): number {
  try {
    return openOwnFile(textPath(path), constants.O_RDWR | constants.O_CREAT, LOCK_FILE_MODE)
  } catch (error) {
    throw lockFileError(path, error)
  }
}

function heldError(path: string, fd: number): PgtsError {
  const pid = contentOf(fd)?.pid
  const holder = pid === undefined ? 'another process' : `process ${pid}${commandOf(pid)}`
  return new PgtsError('lock-acquire', `cannot take the lock ${path}: it is held by ${holder}`, {
    hints: ['another backup, expire or restore of this stanza is running: wait for it to end, or stop it'],
  })
}

/** undefined if the holder has not written its content yet, or is a program whose files look different. */
function contentOf(fd: number): LockContent | undefined {
  try {
    return parseLockContent(readBounded(fd).toString('latin1'))
  } catch {
    return undefined
  }
}

/** ` (pgbackrest --stanza=main backup)`, or '' when the process has ended or may not be inspected. Options are left out, because they may hold secrets. */
function commandOf(pid: number): string {
  try {
    const words = readFileSync(`/proc/${pid}/cmdline`, 'utf8')
      .split('\0')
      .filter((word) => word !== '')
    const shown = words.filter((word, index) => index === 0 || !word.startsWith('-') || word.startsWith('--stanza'))
    return shown.length === 0 ? '' : ` (${shown.join(' ')})`
  } catch {
    return ''
  }
}

function lockFileError(path: string, cause: unknown): PgtsError {
  return new PgtsError('lock-acquire', `cannot take the lock ${path}: ${reasonOf(cause)}`, {
    hints: lockHints(cause),
    cause,
  })
}
