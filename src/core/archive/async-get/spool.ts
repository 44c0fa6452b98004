import { createHash } from 'node:crypto'
import { mkdirSync, readdirSync, readFileSync, rmSync, statSync, symlinkSync } from 'node:fs'
import { isWalSegment, type WalSegment } from '../../../format/wal-segment.ts'
import { pathOf } from '../../../util/byte-string.ts'
import { systemCode } from '../../../util/error.ts'
import { readIfThere, writeWhole, type SpoolPaths } from '../spool-files.ts'
import type { SpoolOwner } from '../spool-identity.ts'
import { livingPid } from '../spool-lock.ts'

/**
 * What archive-get keeps in the spool besides the segments themselves, which lie in `in/` under pgBackRest's names
 * (repository-format 6.5). All paths are byte strings.
 */

/** Name of a segment while it is being fetched; pgBackRest's, so that its cleaning knows what it is. */
export const FETCHING = '.pgbackrest.tmp'

const DOOR = 'get-door-'
const MODE = 0o750

/**
 * The owner's way into the spool: a directory of links to its parts. Whoever takes the spool over removes all other
 * doors before anything of its own appears in `in/`. A path through a door therefore never leads to another cluster's
 * file, not even for a launcher that was stopped for an hour between looking and taking.
 */
export function doorOf(spool: SpoolPaths, owner: SpoolOwner): string {
  const hash = createHash('sha256')
  for (const part of [owner.systemId, owner.pgPath, owner.bootId]) hash.update(`${part}\0`)
  return `${spool.own}/${DOOR}${hash.digest('hex').slice(0, 32)}`
}

/** Make this owner's door the only one. Only for the process that holds get.lock. */
export function openDoor(spool: SpoolPaths, door: string): void {
  for (const name of namesIn(spool.own)) {
    const path = `${spool.own}/${name}`
    if (name.startsWith(DOOR) && path !== door) rmSync(pathOf(path), { recursive: true, force: true })
  }
  mkdirSync(pathOf(door), { recursive: true, mode: MODE })
  for (const [name, target] of [
    ['in', '../../in'],
    ['out', '../../out'],
    ['pgts', '..'],
  ] as const) {
    try {
      symlinkSync(target, pathOf(`${door}/${name}`))
    } catch (error) {
      if (systemCode(error) !== 'EEXIST') throw error
    }
  }
}

/** Nobody knows who wrote what lies in `in/`, and what a killed process left was not proven to its end. */
export function emptyQueue(spool: SpoolPaths): void {
  for (const name of namesIn(spool.in)) rmSync(pathOf(`${spool.in}/${name}`), { recursive: true, force: true })
}

export function isOpen(door: string): boolean {
  return statSync(pathOf(`${door}/in`), { throwIfNoEntry: false }) !== undefined
}

/** Does a background process live? A number that a killed one left may belong to somebody else by now. */
export function isFetching(spool: SpoolPaths): boolean {
  const pid = livingPid(spool, 'get')
  if (pid === undefined) return false
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'latin1').includes('archive-get:async')
  } catch {
    // Not Linux, or hidden from us: then the number is all there is to go by.
    return true
  }
}

/** What a call of archive-get tells the background process: this segment was handed over, or is about to be. */
export interface Request {
  readonly segment: WalSegment
  /** Another one for each call, so that a second request for the same segment is seen as one. */
  readonly call: string
}

/** @throws the system's error */
export function writeRequest(spool: SpoolPaths, { segment, call }: Request): void {
  writeWhole(spool, `${spool.own}/get-request`, `${segment}\n${call}\n`)
}

/** The last one; undefined when there is none, or nothing that can be understood. */
export function readRequest(spool: SpoolPaths): Request | undefined {
  const [segment = '', call = ''] = readIfThere(`${spool.own}/get-request`)?.text.split('\n') ?? []
  return isWalSegment(segment) && call !== '' ? { segment, call } : undefined
}

export function namesIn(directory: string): string[] {
  return readdirSync(pathOf(directory), { encoding: 'latin1' })
}
