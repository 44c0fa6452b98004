import { isBackupLabel, nextBackupLabel, type NextLabel } from '../../format/backup-label.ts'
import { backupPath, isHistoryYear, labelOfHistoryManifest, manifestHistoryPath } from '../../format/repo-path.ts'
import type { StorageDriver } from '../../storage/driver.ts'

/**
 * The label of a new full backup. It must sort after every label that exists or existed (the directories, and the
 * newest year of the history), so that two clocks or a time zone change cannot make a new backup look old.
 *
 * @param timestampStart seconds since the epoch; the label shows it in local time
 * @throws PgtsError `clock` when the newest label lies more than a second ahead
 */
export async function newFullLabel(
  storage: StorageDriver,
  stanza: string,
  timestampStart: number,
  signal: AbortSignal,
): Promise<NextLabel> {
  const labels = (await namesIn(storage, backupPath(stanza), signal)).filter(isBackupLabel)
  const history = manifestHistoryPath(stanza)
  const newestYear = (await namesIn(storage, history, signal)).filter(isHistoryYear).sort().at(-1)
  const past = newestYear === undefined ? [] : await namesIn(storage, `${history}/${newestYear}`, signal)
  return nextBackupLabel('full', timestampStart, [
    ...labels,
    ...past.map(labelOfHistoryManifest).filter((label) => label !== undefined),
  ])
}

async function namesIn(storage: StorageDriver, path: string, signal: AbortSignal): Promise<string[]> {
  const names: string[] = []
  for await (const entry of storage.list(path, { signal }))
    names.push(entry.name.slice(entry.name.lastIndexOf('/') + 1))
  return names
}
