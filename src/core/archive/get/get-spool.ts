import { readdirSync, readFileSync } from 'node:fs'
import { isWalSegment, type WalSegment } from '../../../format/wal-segment.ts'
import { pathOf } from '../../../util/byte-string.ts'
import { removeTreeSync } from '../../../util/remove-tree.ts'
import { readIfExists, writeAtomic, type SpoolPaths } from '../spool/spool-files.ts'
import { livingPid } from '../spool/spool-lock.ts'

/**
 * What archive-get keeps in the spool besides the segments themselves, which lie in `in/` under pgBackRest's names
 * (repository-format 6.5). All paths are byte strings.
 */

/** Name of a segment while it is being fetched; pgBackRest's, so that its cleaning knows what it is. */
export const FETCHING = '.pgbackrest.tmp'

/** Nobody knows who wrote what lies in `in/`, and what a killed process left was not proven to its end. */
export function emptyQueue(spool: SpoolPaths): void {
  for (const name of namesIn(spool.in)) removeTreeSync(`${spool.in}/${name}`)
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
  writeAtomic(spool, `${spool.own}/get-request`, `${segment}\n${call}\n`)
}

/** The last one; undefined when there is none, or nothing that can be understood. */
export function readRequest(spool: SpoolPaths): Request | undefined {
  const [segment = '', call = ''] = readIfExists(`${spool.own}/get-request`)?.text.split('\n') ?? []
  return isWalSegment(segment) && call !== '' ? { segment, call } : undefined
}

export function namesIn(directory: string): string[] {
  return readdirSync(pathOf(directory), { encoding: 'latin1' })
}
