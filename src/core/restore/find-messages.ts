import { formatLsn } from '../../format/wal-segment.ts'
import type { RestorePoint } from '../../format/wal-times.ts'
import { bytesToText } from '../../util/byte-string.ts'
import { microsText } from '../../util/local-time.ts'
import { nearest } from '../../util/nearest.ts'
import type { FoundStop, StopTarget } from '../window/stop-target.ts'
import { lastReachable, OMIT_TARGET, STRICT_SINCE, type Finding } from './reachable.ts'
import type { SearchedWal } from './searched-wal.ts'

/** `commit of transaction 741, 2026-11-29 14:02:11.123456+00, LSN 0/3000148` */
export function stopText({ kind, xid, name, time, lsn }: FoundStop): string {
  const transaction = xid === undefined ? 'a prepared transaction' : `transaction ${xid}`
  const what = kind === 'restore-point' ? `restore point '${bytesToText(name!)}'` : `${kind} of ${transaction}`
  return `${what}, ${microsText(time)}, LSN ${formatLsn(lsn)}`
}

/** Restore points that a message lists. */
const MOST_LISTED = 5

/**
 * The target is in none of the WAL that was searched.
 *
 * @param shown the target, as the operator wrote it
 * @param major version of PostgreSQL
 */
export function notFound(target: StopTarget, shown: string, searched: SearchedWal, major: number): Finding {
  const { first, last, missing, unreadable } = searched
  const where = `the archived WAL from ${first} to ${last}`
  const hints = [
    ...hintsOf(target, searched),
    ...(missing === undefined ? [] : [`searched up to ${missing}, which is not in the archive`]),
  ]
  for (const { segment, failure } of unreadable.slice(0, MOST_LISTED))
    hints.push(`WAL segment ${segment} could not be searched${failure === undefined ? '' : `: ${failure.message}`}`)
  // A segment that cannot be read can contain it. Servers before 13 recover to a time also without a later commit.
  const isCertain = unreadable.length === 0 && (target.kind !== 'time' || major >= STRICT_SINCE)
  return {
    kind: isCertain ? 'target' : 'unlikely',
    message: messageOf(target, shown, searched, where),
    hints,
  }
}

function messageOf(target: StopTarget, shown: string, { times }: SearchedWal, where: string): string {
  switch (target.kind) {
    case 'name':
      return `restore point '${shown}' is not in ${where}`
    case 'xid':
      return `transaction ${shown} does not end in ${where}`
    case 'time':
      return times === undefined
        ? `there is no commit in ${where}: recovery does not reach the target time '${shown}'`
        : `the last commit in ${where} is of ${microsText(times[1])}: recovery does not reach the target time '${shown}'`
  }
}

function hintsOf(target: StopTarget, { points, times, xids }: SearchedWal): string[] {
  switch (target.kind) {
    case 'name':
      return [pointsText(bytesToText(target.name), points)]
    case 'xid': {
      const commits = times === undefined ? '' : `, commits from ${microsText(times[0])} to ${microsText(times[1])}`
      return xids === undefined
        ? ['no transaction ends in this WAL']
        : [`it contains transactions from ${xids[0]} to ${xids[1]}${commits}`, 'use the id of a top-level transaction']
    }
    case 'time':
      return [...(times === undefined ? [] : [lastReachable(times[1], target.exclusive)]), OMIT_TARGET]
  }
}

/** The most similar name first, else the newest restore points. */
function pointsText(name: string, points: readonly RestorePoint[]): string {
  if (points.length === 0) return 'there is no restore point in this WAL'
  const newest = new Map([...points].reverse().map((point) => [bytesToText(point.name), point]))
  const close = nearest(name, newest.keys())
  const names = [...new Set([...(close === undefined ? [] : [close]), ...newest.keys()])].slice(0, MOST_LISTED)
  return `restore points: ${names.map((one) => `'${one}' (${microsText(newest.get(one)!.time)})`).join(', ')}`
}

/** The record is in the WAL of a backup, which recovery must replay completely, and no earlier backup can be used. */
export function insideBackup(stop: FoundStop, label: string): Finding {
  return {
    kind: 'target',
    message: `${stopText(stop)} is before the end of backup ${label}: recovery cannot stop there`,
    hints: ['no earlier backup leads to it; use the end of this backup with --type=immediate'],
  }
}

/** Other restore points of the same name, at which recovery does not stop. */
export function othersText(stop: FoundStop, others: readonly FoundStop[]): string {
  const listed = others.slice(0, MOST_LISTED).map(({ time, lsn }) => `${microsText(time)} (LSN ${formatLsn(lsn)})`)
  return (
    `restore point '${bytesToText(stop.name!)}' exists ${others.length + 1} times: recovery stops at the first one after ` +
    `the start of the backup, ${microsText(stop.time)}; the others: ${listed.join(', ')}`
  )
}
