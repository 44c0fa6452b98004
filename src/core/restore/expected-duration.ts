import type { BackupEntry } from '../../format/backup-info.ts'

export interface ExpectedDuration {
  readonly seconds: number
  /** The backup whose rate is assumed. */
  readonly label: string
}

/** Backups that are considered, newest first: hosts and networks change. */
const RECENT = 20
/** Below this the time of a backup is that of its checkpoint, not of its copy. */
const LEAST_SECONDS = 10

/**
 * The time to copy so many bytes at the rate of the recent backup that copied the most; replay is not included. Undefined if no
 * backup took long enough to know a rate.
 *
 * @param backups oldest first
 */
export function expectedDuration(backups: readonly BackupEntry[], sizeBytes: number): ExpectedDuration | undefined {
  let best: { readonly label: string; readonly bytes: number; readonly seconds: number } | undefined
  for (const { label, sizeDeltaBytes, timestampStart, timestampStop } of backups.slice(-RECENT)) {
    const seconds = timestampStop - timestampStart
    if (seconds < LEAST_SECONDS || sizeDeltaBytes <= (best?.bytes ?? 0)) continue
    best = { label, bytes: sizeDeltaBytes, seconds }
  }
  if (best === undefined) return undefined
  return { label: best.label, seconds: Math.ceil((sizeBytes / best.bytes) * best.seconds) }
}
