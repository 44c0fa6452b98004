import type { BackupEntry } from '../../format/backup-info.ts'
import type { DrillRecord } from '../drill/record.ts'

export interface ExpectedDuration {
  readonly seconds: number
  /** The backup whose rate is assumed: of its copy, or of its restore by a drill. */
  readonly label: string
  /** Begin of the drill that restored it, milliseconds since 1970; absent: no drill has measured a restore. */
  readonly drillMs?: number
}

/** Backups that are considered, newest first: hosts and networks change. */
const RECENT = 20
/** Below this the time of a backup is that of its checkpoint, not of its copy. */
const LEAST_SECONDS = 10

/** In less time little more than the start of pgts is measured. */
const LEAST_RESTORE_MS = 1000

/**
 * The time to restore so many bytes at the rate of the last drill; without one, to copy them at the rate of the recent backup that
 * copied the most. Replay is not included. Undefined if neither took long enough to know a rate.
 *
 * @param backups oldest first
 * @param drills newest first
 */
export function expectedDuration(
  backups: readonly BackupEntry[],
  drills: readonly DrillRecord[],
  sizeBytes: number,
): ExpectedDuration | undefined {
  for (const { label, startedMs, restoredBytes = 0, durations } of drills) {
    const { restoreMs = 0 } = durations
    if (restoredBytes === 0 || restoreMs < LEAST_RESTORE_MS) continue
    return { label, drillMs: startedMs, seconds: Math.ceil((sizeBytes / restoredBytes) * (restoreMs / 1000)) }
  }
  let best: { readonly label: string; readonly bytes: number; readonly seconds: number } | undefined
  for (const { label, sizeDeltaBytes, timestampStart, timestampStop } of backups.slice(-RECENT)) {
    const seconds = timestampStop - timestampStart
    if (seconds < LEAST_SECONDS || sizeDeltaBytes <= (best?.bytes ?? 0)) continue
    best = { label, bytes: sizeDeltaBytes, seconds }
  }
  if (best === undefined) return undefined
  return { label: best.label, seconds: Math.ceil((sizeBytes / best.bytes) * best.seconds) }
}
