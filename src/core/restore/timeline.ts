import { archiveFileName, archiveIdPath } from '../../format/repo-path.ts'
import {
  formatLsn,
  isTimelineHistoryFile,
  timelineHistoryFile,
  timelineOf,
  parseTimelineHistory,
  type TimelineSwitch,
} from '../../format/wal-segment.ts'
import type { StorageDriver } from '../../storage/driver.ts'
import { isPgtsError, PgtsError } from '../../util/error.ts'
import { readArchived } from '../archive/find.ts'
import { RECOVERY_SETTINGS_SINCE, type RestoreType } from './recovery.ts'
import { parseTargetTimeline } from './recovery-target.ts'
import type { TimelinePart } from './wal-path.ts'
import { asBytes, bytesToText, type ByteString } from '../../util/byte-string.ts'

export interface TimelineRequest {
  /** Archive of the backup's cluster. */
  readonly stanza: string
  /** `15-1` */
  readonly archiveId: string
  /** Passphrase of the archive; absent: the repository is not encrypted. */
  readonly cipherPass?: string
  /** Major version of PostgreSQL. */
  readonly major: number
  readonly type: RestoreType
  /** `current`, `latest` or a number; undefined: the server's default. */
  readonly targetTimeline?: ByteString
  readonly backup: { readonly label: string; readonly timeline: number; readonly lsnStart: bigint }
  readonly signal: AbortSignal
}

/**
 * The timelines that recovery follows, beginning with that of the backup. Before anything is overwritten, refuses a
 * restore whose recovery can never reach the target timeline; the server would only report it when it starts. [058] the
 * timeline does not match, [055] its history is not archived.
 */
export async function checkTargetTimeline(storage: StorageDriver, request: TimelineRequest): Promise<TimelinePart[]> {
  const { backup, stanza, archiveId } = request
  const target =
    request.targetTimeline ??
    (request.major < RECOVERY_SETTINGS_SINCE || request.type === 'immediate' ? asBytes('current') : asBytes('latest'))
  const own = { timeline: backup.timeline }
  if (target === 'current') return [own]
  const timeline =
    target === 'latest'
      ? await latestTimeline(storage, stanza, archiveId, backup.timeline, request.signal)
      : Number(parseTargetTimeline(target))
  if (timeline === backup.timeline) return [own]
  const forks = await loadForks(storage, request, timeline)
  assertReachable(forks, timeline, backup)
  const after = forks.filter((fork) => fork.timeline >= backup.timeline)
  return [...after.map((fork) => ({ timeline: fork.timeline, endLsn: fork.switchLsn })), { timeline }]
}

/** The backup must have begun on an ancestor of the target timeline, before the fork. */
export function assertReachable(
  forks: readonly TimelineSwitch[],
  target: number,
  backup: { readonly label: string; readonly timeline: number; readonly lsnStart: bigint },
): void {
  const ours = forks.filter((fork) => fork.timeline === backup.timeline)
  if (ours.some((fork) => backup.lsnStart < fork.switchLsn)) return
  const [shown, own, lsn] = [hex(target), hex(backup.timeline), formatLsn(backup.lsnStart)]
  const fork = ours.at(-1)
  const stay = `use --target-timeline=current to stay on timeline ${own}, or --set to restore an earlier backup`
  if (fork !== undefined) {
    throw new PgtsError(
      'db-mismatch',
      `target timeline ${shown} forked from backup timeline ${own} at ${formatLsn(fork.switchLsn)},` +
        ` which is before the start of backup ${backup.label} at ${lsn}`,
      {
        hints: [
          'check whether the target timeline was created by an accidental promotion of a standby',
          'check whether it was created by a trial restore without --archive-mode=off',
          stay,
        ],
      },
    )
  }
  throw new PgtsError(
    'db-mismatch',
    `timeline ${own} of backup ${backup.label}, which started at ${lsn}, is not in the history of target timeline ${shown}`,
    { hints: ['check whether the target timeline was created by a promotion from an older timeline', stay] },
  )
}

async function latestTimeline(
  storage: StorageDriver,
  stanza: string,
  archiveId: string,
  current: number,
  signal: AbortSignal,
): Promise<number> {
  let latest = current
  for await (const entry of storage.list(archiveIdPath(stanza, archiveId), { namesOnly: true, signal })) {
    const name = entry.name.slice(entry.name.lastIndexOf('/') + 1)
    if (entry.kind !== 'path' && isTimelineHistoryFile(name)) latest = Math.max(latest, timelineOf(name))
  }
  return latest
}

async function loadForks(
  storage: StorageDriver,
  { stanza, archiveId, cipherPass, signal }: TimelineRequest,
  timeline: number,
): Promise<TimelineSwitch[]> {
  const name = archiveFileName(stanza, archiveId, timelineHistoryFile(timeline))
  try {
    return parseTimelineHistory((await readArchived(storage, name, cipherPass, { signal })).toString('latin1'))
  } catch (error) {
    if (isPgtsError(error, 'file-missing')) {
      throw new PgtsError('file-missing', `the history of target timeline ${hex(timeline)} is not in the archive`, {
        hints: [
          `${storage.display}/${bytesToText(name)} is missing: check that this timeline exists`,
          'use --target-timeline=current to stay on the timeline of the backup',
        ],
        cause: error,
      })
    }
    if (!isPgtsError(error, 'format') && !isPgtsError(error, 'crypto')) throw error
    throw new PgtsError(
      error.code,
      `the history of timeline ${hex(timeline)} in ${storage.display}/${bytesToText(name)} is corrupt: ${error.message}`,
      {
        hints: ['use --target-timeline=current to stay on the timeline of the backup'],
        cause: error,
      },
    )
  }
}

function hex(timeline: number): string {
  return timeline.toString(16).toUpperCase()
}
