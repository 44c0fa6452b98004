import { readdirSync, readFileSync } from 'node:fs'
import { isWalSegment, type WalSegment } from '../../../format/wal-segment.ts'
import { pathOf } from '../../../util/byte-string.ts'
import { removeTreeSync } from '../../../util/remove-tree.ts'
import { readIfExists, writeAtomic, type SpoolPaths } from '../spool/spool-files.ts'
import { livingPid } from '../spool/spool-lock.ts'

/**
 * Files of archive-get in the spool besides the segments, which are in `in/` with the names of pgBackRest
 * (repository-format 6.5). All paths are byte strings.
 */

/** Ending of a segment while it is being fetched; that of pgBackRest, which removes such files. */
export const FETCHING = '.pgbackrest.tmp'

/** Remove all files in `in/`: their origin is unknown, and those of a killed process were not verified completely. */
export function emptyQueue(spool: SpoolPaths): void {
  for (const name of namesIn(spool.in)) removeTreeSync(`${spool.in}/${name}`)
}

/** Is a background process running? The process id that a killed one left may belong to another process. */
export function isFetching(spool: SpoolPaths): boolean {
  const pid = livingPid(spool, 'get')
  if (pid === undefined) return false
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'latin1').includes('archive-get:async')
  } catch {
    // Not Linux, or /proc is hidden: only the process id is known.
    return true
  }
}

/** Written by a call of archive-get: this segment was returned, or is about to be. */
export interface Request {
  readonly segment: WalSegment
  /** Unique for each call, so that a second request for the same segment is recognised. */
  readonly call: string
}

/** @throws the error of the system */
export function writeRequest(spool: SpoolPaths, { segment, call }: Request): void {
  writeAtomic(spool, `${spool.own}/get-request`, `${segment}\n${call}\n`)
}

/** The last one; undefined if there is none, or it is invalid. */
export function readRequest(spool: SpoolPaths): Request | undefined {
  const [segment = '', call = ''] = readIfExists(`${spool.own}/get-request`)?.text.split('\n') ?? []
  return isWalSegment(segment) && call !== '' ? { segment, call } : undefined
}

export function namesIn(directory: string): string[] {
  return readdirSync(pathOf(directory), { encoding: 'latin1' })
}
