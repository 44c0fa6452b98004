import {
  formatLsn,
  lsnOfSegment,
  segmentOfLsn,
  timelineOf,
  type Lsn,
  type WalSegment,
} from '../../format/wal-segment.ts'
import type { StorageDriver } from '../../storage/driver.ts'
import { microsText, zonedDateTime } from '../../util/local-time.ts'
import type { FoundStop } from '../window/stop-target.ts'
import type { TimeReach } from '../window/time-reach.ts'
import type { RestoreType } from './recovery.ts'
import type { RecoveryTarget } from './recovery-target.ts'
import type { TimelinePart } from './wal-path.ts'
import { segmentSizeFrom, walReach, type Reach, type WalPosition } from './wal-reach.ts'
import { bytesToText } from '../../util/byte-string.ts'

export type Verdict = 'reachable' | 'unreachable' | 'unknown'

/**
 * A reason why recovery does not reach its target.
 *  - `backup-wal`: a segment from the start to the stop of the backup is missing, while later ones are archived
 *  - `backup-wal-end`: the archive ends before the stop of the backup; its WAL may still be archived
 *  - `target`: recovery certainly does not reach the target with the WAL in the archive
 *  - `unlikely`: as `target`, judged by the clocks of several hosts
 *  - `lost-wal`: recovery ends before a missing segment, and later commits are lost
 *  - `unchecked`: the archive could not be read
 */
export interface Finding {
  readonly kind: 'backup-wal' | 'backup-wal-end' | 'target' | 'unlikely' | 'lost-wal' | 'unchecked'
  readonly message: string
  readonly hints: readonly string[]
}

/** The WAL that recovery reads from the archive. */
export interface WalRange {
  readonly first: WalSegment
  /** The last segment that is present, or that the target requires; absent: the first one is missing. */
  readonly last?: WalSegment
  /** Number of present segments. */
  readonly segments: number
  /** The first missing segment; absent: every segment up to the target is present. */
  readonly missing?: WalSegment
  /** Later segments than the missing one are in the archive. */
  readonly gap: boolean
  /** The latest time at which one of the segments was stored, ms since the epoch; 0: unknown. */
  readonly storedMs: number
  /** Bytes of one segment. */
  readonly segmentSize: number
  /** The timelines that recovery follows, beginning with that of the backup. */
  readonly timelines: readonly number[]
}

/** Whether recovery reaches its target. */
export interface Reachability {
  readonly verdict: Verdict
  /** Absent: the archive was not read. */
  readonly wal?: WalRange
  readonly findings: readonly Finding[]
}

/** What is checked in the archive before files are copied. Times are seconds since the epoch. */
export interface TargetRequest {
  readonly type: RestoreType
  readonly target?: RecoveryTarget
  readonly stanza: string
  /** `15-1` */
  readonly archiveId: string
  readonly timelines: readonly TimelinePart[]
  readonly backup: BackupSpan
  /** Positions in this and other backups of the cluster, from which the segment size is derived. */
  readonly positions: readonly WalPosition[]
  /** Bytes, where it is known. */
  readonly segmentSize?: number
  readonly now: number
  /** The record at which recovery stops, if it was searched. */
  readonly found?: FoundStop
  /** For a target time: what the recorded commit times say. */
  readonly commits?: TimeReach
  /** Major version of PostgreSQL. */
  readonly major: number
  /** True if another repository that recovery uses has this segment. */
  readonly isElsewhere: (segment: WalSegment) => Promise<boolean>
  readonly signal: AbortSignal
}

export interface BackupSpan {
  readonly label: string
  readonly lsnStart: Lsn
  readonly lsnStop: Lsn
  readonly timestampStop: number
  /** The backup contains the WAL from its start to its stop. */
  readonly archiveCopy: boolean
}

/**
 * Whether recovery reaches its target, as far as this is known without reading WAL. Otherwise PostgreSQL reports it only
 * after everything was copied; version 13 and later do not start then. Each directory of the archive is listed once.
 */
export async function checkReach(storage: StorageDriver, request: TargetRequest): Promise<Reachability> {
  const { type, target, backup, now } = request
  if (type === 'none' || type === 'preserve') return { verdict: 'reachable', findings: [] }
  // A standby receives WAL missing in the archive from its primary.
  if (type === 'standby') return { verdict: 'unknown', findings: [] }
  const { seconds, lsn } = target ?? {}
  const future = inFuture(target, now)
  if (future !== undefined) return { verdict: 'unreachable', findings: [future] }
  if (lsn !== undefined && lsn < backup.lsnStop) {
    const when = `at LSN ${formatLsn(backup.lsnStop)}`
    const early = tooEarly(`target LSN ${bytesToText(target!.text)}`, backup, when)
    return { verdict: 'unreachable', findings: [{ kind: 'target', ...early }] }
  }
  if (seconds !== undefined && seconds < backup.timestampStop && request.found === undefined) {
    // An idle server may have committed nothing from the target to the stop: then recovery stops after it.
    const when = `at ${zonedDateTime(backup.timestampStop)}`
    const early = tooEarly(`target time '${bytesToText(target!.text)}'`, backup, when)
    return { verdict: 'unknown', findings: [{ kind: 'unlikely', ...early }] }
  }
  const segmentSize = request.segmentSize ?? segmentSizeFrom(request.positions)
  if (segmentSize === undefined) return { verdict: 'unknown', findings: [] }
  const reach = await reachOf(storage, request, segmentSize)
  const first = segmentOfLsn(backup.lsnStart, request.timelines[0]!.timeline, segmentSize)
  const { missing, last, segments, storedMs } = reach
  const timelines = request.timelines.map(({ timeline }) => timeline)
  const wal = { first, last, segments, missing, gap: reach.kind === 'gap', storedMs, segmentSize, timelines }
  if (reach.kind === 'unknown') return { verdict: 'unknown', wal, findings: [] }
  if (missing !== undefined && (await request.isElsewhere(missing))) return { verdict: 'unknown', wal, findings: [] }
  return { wal, ...judge(wal, request) }
}

/** A finding if the target is a time in the future. @param now seconds since the epoch */
export function inFuture(target: RecoveryTarget | undefined, now: number): Finding | undefined {
  if (target?.seconds === undefined || target.seconds <= now) return undefined
  const message = `target time '${bytesToText(target.text)}' is in the future: recovery cannot reach it`
  return { kind: 'target', message, hints: [OMIT_TARGET, NOT_STARTED] }
}

function judge(wal: WalRange, request: TargetRequest): Pick<Reachability, 'verdict' | 'findings'> {
  const { type, target, backup, found } = request
  const { missing, gap } = wal
  const isWanted =
    target !== undefined && (target.seconds !== undefined || target.lsn !== undefined || found !== undefined)
  const known = type === 'default' || type === 'immediate' || isWanted
  if (missing === undefined) return { verdict: known ? 'reachable' : 'unknown', findings: [] }
  const isNeeded = missing <= segmentOfLsn(backup.lsnStop - 1n, timelineOf(missing), wal.segmentSize)
  if (isNeeded) return { verdict: 'unreachable', findings: [withoutBackupWal(missing, gap, backup)] }
  if (isWanted) return beyond(wal, target, request)
  if (!gap) return { verdict: known ? 'reachable' : 'unknown', findings: [] }
  const message = gapText(missing)
  if (type === 'default') {
    const hints = ['later commits are lost; run verify to see all missing segments']
    return { verdict: 'reachable', findings: [{ kind: 'lost-wal', message, hints }] }
  }
  const only = `${message}, and reaches the target only if it is earlier`
  return { verdict: 'unknown', findings: [{ kind: 'unlikely', message: only, hints: [NOT_STARTED] }] }
}

/** The archive has every segment up to the missing one, which is not enough for the target. */
function beyond(
  wal: WalRange,
  target: RecoveryTarget,
  { commits, major }: TargetRequest,
): Pick<Reachability, 'verdict' | 'findings'> {
  const { missing, last, gap, storedMs } = wal
  if (commits?.kind === 'beyond')
    return { verdict: 'unreachable', findings: [afterLastCommit(wal, target, commits, major)] }
  const shown = bytesToText(target.text)
  const fails =
    target.lsn === undefined
      ? `is not expected to reach the target time '${shown}'`
      : `does not reach the target LSN '${shown}'`
  const when = storedMs === 0 ? '' : `, stored at ${zonedDateTime(storedMs / 1000)}`
  const message = gap
    ? `${gapText(missing!)} and ${fails}`
    : `the archive ends with WAL segment ${last ?? 'none'}${when}: recovery ${fails}`
  // A time is compared with the clock of the repository, which may differ from that of the server.
  const isCertain = target.seconds === undefined || target.seconds * 1000 > storedMs + CLOCK_TOLERANCE_MS
  const kind = isCertain ? 'target' : 'unlikely'
  return { verdict: 'unreachable', findings: [{ kind, message, hints: [OMIT_TARGET, NOT_STARTED] }] }
}

const CLOCK_TOLERANCE_MS = 60_000

/** Every commit that recovery reaches is known, and none is later than the target. */
function afterLastCommit(
  { missing, gap }: WalRange,
  { text }: RecoveryTarget,
  { last, exclusive }: TimeReach & { kind: 'beyond' },
  major: number,
): Finding {
  const shown = bytesToText(text)
  const message =
    last === undefined
      ? `there is no commit after the backup in the archive: recovery does not reach the target time '${shown}'`
      : `the last archived commit that recovery reaches is of ${microsText(last)}: it does not reach the target time '${shown}'`
  const hints = [
    ...(gap ? [gapText(missing!)] : []),
    ...(last === undefined ? [] : [lastReachable(last, exclusive)]),
    OMIT_TARGET,
    NOT_STARTED,
  ]
  // Before 13 such a recovery ends with the last commit, which is what was requested unless WAL is missing.
  return { kind: major >= STRICT_SINCE || gap ? 'target' : 'unlikely', message, hints }
}

/** From this version on a server does not start if it has not reached its target. */
export const STRICT_SINCE = 13

/** Recovery to a time stops before the first later commit, so that of the last one cannot be reached itself. */
export function lastReachable(lastCommit: number, exclusive: boolean): string {
  return `latest reachable target: ${microsText(exclusive ? lastCommit : lastCommit - 1)}`
}

function gapText(missing: WalSegment): string {
  return `WAL segment ${missing} is not in the archive, but later ones are: recovery ends before it`
}

export const OMIT_TARGET = 'omit --type and --target to recover as far as the archive goes'
const NOT_STARTED =
  'PostgreSQL 13 and newer will not start without reaching the target; older versions end recovery there'

function withoutBackupWal(missing: WalSegment, gap: boolean, { label }: BackupSpan): Finding {
  return {
    kind: gap ? 'backup-wal' : 'backup-wal-end',
    message: `WAL segment ${missing} is not in the archive: backup ${label} cannot become consistent without it`,
    hints: ['PostgreSQL will not start: copy the segment into the archive, or restore another backup with --set'],
  }
}

function tooEarly(shown: string, { label }: BackupSpan, when: string): Omit<Finding, 'kind'> {
  return {
    message: `${shown} is before the end of backup ${label}, which stopped ${when}: recovery cannot stop there`,
    hints: ['omit --set to restore the newest backup that ended before the target'],
  }
}

function reachOf(storage: StorageDriver, request: TargetRequest, segmentSize: number): Promise<Reach> {
  const { type, target, backup, stanza, archiveId, timelines, found, commits, signal } = request
  const { seconds, lsn } = target ?? {}
  const needed = found?.segment ?? (commits?.kind === 'reached' ? commits.segment : undefined)
  const [firstCarried, lastCarried] = [backup.lsnStart, backup.lsnStop - 1n].map((position) =>
    segmentOfLsn(position, timelines[0]!.timeline, segmentSize),
  ) as [WalSegment, WalSegment]
  return walReach(storage, {
    ...{ stanza, archiveId, segmentSize, timelines, signal },
    startLsn: backup.lsnStart,
    carried: (segment) => backup.archiveCopy && segment >= firstCarried && segment <= lastCarried,
    isEnough: (endLsn, storedMs) => {
      if (endLsn < backup.lsnStop) return false
      if (type === 'immediate') return true
      if (needed !== undefined) return endLsn > lsnOfSegment(needed, segmentSize)
      if (lsn !== undefined) return endLsn > lsn
      if (commits?.kind === 'beyond') return false
      // A segment is stored after all its records were written. Stores round the time down to seconds.
      return seconds !== undefined && storedMs + 1000 >= seconds * 1000
    },
    wantsTimes: seconds !== undefined,
  })
}
