import type { Lsn, WalSegment } from '../../format/wal-segment.ts'
import type { SegmentTimes } from '../../format/wal-times.ts'
import type { RecoveryStop } from '../../postgres/wal-record.ts'
import type { ByteString } from '../../util/byte-string.ts'
import { isBetween } from './segment-scan.ts'

/**
 * The target of a recovery, which stops at the first record that matches: after a transaction or a restore point, before
 * the first commit or abort that is later than a time.
 *
 * @see PostgreSQL, src/backend/access/transam/xlogrecovery.c: recoveryStopsBefore, recoveryStopsAfter
 */
export type StopTarget =
  | { readonly kind: 'name'; readonly name: ByteString }
  /** Microseconds since 1970; exclusive: also before one of the same time. */
  | { readonly kind: 'time'; readonly micros: number; readonly exclusive: boolean }
  /** 32 bits, which are all that the server compares. */
  | { readonly kind: 'xid'; readonly xid: number }

/** A record at which recovery can stop. */
export interface FoundStop extends RecoveryStop {
  /** Where the record begins. */
  readonly lsn: Lsn
  /** The segment in which it ends. */
  readonly segment: WalSegment
}

export function isAtTarget(stop: RecoveryStop, target: StopTarget): boolean {
  switch (target.kind) {
    case 'name':
      return stop.kind === 'restore-point' && stop.name === target.name
    case 'time':
      return stop.kind !== 'restore-point' && isAfter(stop.time, target)
    case 'xid':
      return stop.kind !== 'restore-point' && stop.xid === target.xid
  }
}

/** False: no record of the segment matches. */
export function canContain({ times, xids, points }: SegmentTimes, target: StopTarget): boolean {
  switch (target.kind) {
    case 'name':
      return points.some(({ name }) => name === target.name)
    case 'time':
      return times !== undefined && isAfter(times[1], target)
    case 'xid':
      return xids !== undefined && isBetween(target.xid, xids)
  }
}

/** True if recovery stops before a commit of this time. */
export function isAfter(time: number, { micros, exclusive }: { micros: number; exclusive: boolean }): boolean {
  return exclusive ? time >= micros : time > micros
}
