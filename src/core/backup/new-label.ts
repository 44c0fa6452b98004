import { isBackupLabel, nextBackupLabel, parseBackupLabel, type NextLabel } from '../../format/backup-label.ts'
import type { BackupType } from '../../format/manifest.ts'
import { backupPath, isHistoryYear, labelOfHistoryManifest, manifestHistoryPath } from '../../format/repo-path.ts'
import type { StorageDriver } from '../../storage/driver.ts'

/**
 * The label of a new backup. It must sort after every label that exists or existed (the directories, and the newest year
 * of the history; for a diff or incr only those of its set), so that two clocks or a time zone change cannot make a new
 * backup look old.
 *
 * @param prior label of the backup it builds on
 * @param timestampStart seconds since the epoch; the label shows it in local time
 * @throws PgtsError `clock` when the newest label lies more than a second ahead
 */
export async function newLabel(
  storage: StorageDriver,
  stanza: string,
  type: BackupType,
  prior: string | undefined,
  timestampStart: number,
  signal: AbortSignal,
): Promise<NextLabel> {
  const [labels, past] = await Promise.all([
    namesIn(storage, backupPath(stanza), signal),
    newestHistory(storage, stanza, signal),
  ])
  const existing = [...labels.filter(isBackupLabel), ...past]
  return nextBackupLabel(type, timestampStart, existing, prior === undefined ? undefined : parseBackupLabel(prior))
}

/** Labels of the newest year of the history. */
async function newestHistory(storage: StorageDriver, stanza: string, signal: AbortSignal): Promise<string[]> {
  const history = manifestHistoryPath(stanza)
  const newestYear = (await namesIn(storage, history, signal)).filter(isHistoryYear).sort().at(-1)
  const past = newestYear === undefined ? [] : await namesIn(storage, `${history}/${newestYear}`, signal)
  return past.map(labelOfHistoryManifest).filter((label) => label !== undefined)
}

async function namesIn(storage: StorageDriver, path: string, signal: AbortSignal): Promise<string[]> {
  const names: string[] = []
  for await (const entry of storage.list(path, { namesOnly: true, signal }))
    names.push(entry.name.slice(entry.name.lastIndexOf('/') + 1))
  return names
}
