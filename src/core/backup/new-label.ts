import { isBackupLabel, nextBackupLabel, parseBackupLabel, type NextLabel } from '../../format/backup-label.ts'
import type { BackupType } from '../../format/manifest.ts'
import { backupPath, isHistoryYear, labelOfHistoryManifest, manifestHistoryPath } from '../../format/repo-path.ts'
import type { StorageDriver } from '../../storage/driver.ts'

/**
 * The label of a new backup. It must sort after every label that exists or existed (the directories, and the newest
 * year of backup.history; for a diff or incr only those of its set), even if clocks differ or the time zone changed.
 *
 * @param prior label of the backup it builds on
 * @param timestampStart seconds since the epoch; the label shows it in local time
 * @throws PgtsError `clock` if the newest label is more than a second in the future
 */
export async function newLabel(
  storage: StorageDriver,
  stanza: string,
  { type, prior, timestampStart }: { type: BackupType; prior: string | undefined; timestampStart: number },
  signal: AbortSignal,
): Promise<NextLabel> {
  const [labels, fromHistory] = await Promise.all([
    namesIn(storage, backupPath(stanza), signal),
    newestHistory(storage, stanza, signal),
  ])
  const existing = [...labels.filter(isBackupLabel), ...fromHistory]
  return nextBackupLabel(type, timestampStart, existing, prior === undefined ? undefined : parseBackupLabel(prior))
}

/** Labels in the newest year of backup.history. */
async function newestHistory(storage: StorageDriver, stanza: string, signal: AbortSignal): Promise<string[]> {
  const history = manifestHistoryPath(stanza)
  const newestYear = (await namesIn(storage, history, signal)).filter(isHistoryYear).sort().at(-1)
  const fromHistory = newestYear === undefined ? [] : await namesIn(storage, `${history}/${newestYear}`, signal)
  return fromHistory.map(labelOfHistoryManifest).filter((label) => label !== undefined)
}

async function namesIn(storage: StorageDriver, path: string, signal: AbortSignal): Promise<string[]> {
  const names: string[] = []
  for await (const entry of storage.list(path, { namesOnly: true, signal }))
    names.push(entry.name.slice(entry.name.lastIndexOf('/') + 1))
  return names
}
