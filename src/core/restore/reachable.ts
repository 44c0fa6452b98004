import { formatLsn, segmentOfLsn, timelineOf, type Lsn, type WalSegment } from '../../format/wal-segment.ts'
import type { StorageDriver } from '../../storage/driver.ts'
import { zonedDateTime } from '../../util/local-time.ts'
import type { RestoreType } from './recovery.ts'
import type { RecoveryTarget } from './recovery-target.ts'
import { segmentSizeFrom, walReach, type Reach, type TimelinePart, type WalPosition } from './wal-reach.ts'
import { asBytes, bytesToText } from '../../util/byte-string.ts'

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
  readonly now: number
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
 * Warnings that recovery will not reach its target, as far as this is known without reading WAL. Otherwise PostgreSQL
 * reports it only after everything was copied; version 13 and later do not start then.
 */
export async function unreachable(storage: StorageDriver, request: TargetRequest): Promise<string[]> {
  const { type, target, backup, now } = request
  // A standby receives WAL missing in the archive from its primary.
  if (type === 'none' || type === 'preserve' || type === 'standby') return []
  const { seconds, lsn } = target ?? {}
  const future = inFuture(target, now)
  if (future !== undefined) return [future]
  if (seconds !== undefined && seconds < backup.timestampStop) {
    return [tooEarly(`target time '${bytesToText(target!.text)}'`, backup, `at ${zonedDateTime(backup.timestampStop)}`)]
  }
  if (lsn !== undefined && lsn < backup.lsnStop) {
    return [tooEarly(`target LSN ${bytesToText(target!.text)}`, backup, `at LSN ${formatLsn(backup.lsnStop)}`)]
  }
  const segmentSize = segmentSizeFrom(request.positions)
  if (segmentSize === undefined) return []
  const reach = await reachOf(storage, request, segmentSize)
  if (reach.missing === undefined || (await request.isElsewhere(reach.missing))) return []
  const text = describe(reach, request, segmentSize)
  return text === undefined ? [] : [text]
}

/** A warning if the target is a time in the future. @param now seconds since the epoch */
export function inFuture(target: RecoveryTarget | undefined, now: number): string | undefined {
  if (target?.seconds === undefined || target.seconds <= now) return undefined
  return warning(`target time '${bytesToText(target.text)}' is in the future: recovery cannot reach it`)
}

function reachOf(storage: StorageDriver, request: TargetRequest, segmentSize: number): Promise<Reach> {
  const { type, target, backup, stanza, archiveId, timelines, signal } = request
  const { seconds, lsn } = target ?? {}
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
      if (lsn !== undefined) return endLsn > lsn
      // A segment is stored after all its records were written. Stores round the time down to seconds.
      return seconds !== undefined && storedMs + 1000 >= seconds * 1000
    },
    wantsTimes: seconds !== undefined,
  })
}

function describe(
  { kind, missing, last, storedMs }: Reach,
  { target, type, backup }: TargetRequest,
  segmentSize: number,
): string | undefined {
  const isNeeded = missing! <= segmentOfLsn(backup.lsnStop - 1n, timelineOf(missing!), segmentSize)
  if (isNeeded) {
    return [
      `WAL segment ${missing} is not in the archive: backup ${backup.label} cannot become consistent without it`,
      'HINT: PostgreSQL will not start: copy the segment into the archive, or restore another backup with --set',
    ].join('\n')
  }
  const isTimeOrLsn = target?.seconds !== undefined || target?.lsn !== undefined
  // A time is not exact, because it comes from the clocks of two hosts, the server and the repository.
  const fails =
    target?.lsn === undefined
      ? `is not expected to reach the target time '${bytesToText(target?.text ?? asBytes(''))}'`
      : `does not reach the target LSN '${bytesToText(target.text)}'`
  if (kind === 'gap') {
    const gap = `WAL segment ${missing} is not in the archive, but later ones are: recovery ends before it`
    if (isTimeOrLsn) return warning(`${gap} and ${fails}`)
    if (type === 'default') return `${gap}\nHINT: later commits are lost; run verify to see all missing segments`
    return warning(`${gap}, and reaches the target only if it is earlier`)
  }
  if (!isTimeOrLsn) return undefined
  const when = storedMs === 0 ? '' : `, stored at ${zonedDateTime(storedMs / 1000)}`
  return warning(`the archive ends with WAL segment ${last ?? 'none'}${when}: recovery ${fails}`)
}

function tooEarly(shown: string, { label }: BackupSpan, when: string): string {
  return [
    `${shown} is before the end of backup ${label}, which stopped ${when}: recovery cannot stop there`,
    'HINT: omit --set to restore the newest backup that ended before the target',
  ].join('\n')
}

function warning(text: string): string {
  return `${text}\nHINT: PostgreSQL 13 and newer will not start without reaching the target; older versions end recovery there`
}
