import { fullLabelOf, parseBackupLabel } from '../../format/backup-label.ts'
import type { BackupInfo } from '../../format/backup-info.ts'
import { backupLabelPath, copyName, manifestName } from '../../format/repo-path.ts'
import { toPlainError } from '../../util/error.ts'
import { inParallel } from '../../util/parallel.ts'
import { loadManifest } from '../info-store.ts'
import type { Reconciled } from '../reconcile.ts'
import type { ExpireRun } from './run.ts'

/**
 * Remove the directories of backups that are not listed, newest first, so that a diff goes before its full.
 * @returns their labels
 */
export async function removeDirectories(
  run: ExpireRun,
  found: Reconciled,
  info: BackupInfo,
  set: string | undefined,
): Promise<string[]> {
  const keep = new Set([...info.backups.map(({ label }) => label), ...found.spared])
  const newest = found.directories.at(-1)
  if (newest !== undefined && !keep.has(newest) && (await mayBeRunning(run, newest, info, set))) keep.add(newest)
  const gone = [...found.directories].reverse().filter((label) => !keep.has(label))
  await inParallel(gone, run.storage.parallel ?? 1, async (label) => {
    run.signal.throwIfAborted()
    run.say('info', `remove expired backup ${label}`)
    if (!run.dryRun) await run.storage.removeTree(backupLabelPath(run.stanza, label), { signal: run.signal })
  })
  return gone
}

/**
 * The newest directory with nothing but a manifest copy is a backup in progress, perhaps on another host whose locks
 * are not seen here, or one that can be resumed. It is left alone, unless what it builds on was just taken away.
 */
async function mayBeRunning(
  run: ExpireRun,
  label: string,
  info: BackupInfo,
  set: string | undefined,
): Promise<boolean> {
  const { storage, stanza, signal } = run
  const name = manifestName(stanza, label)
  if ((await storage.stat(name, { signal })) !== undefined) return false
  if ((await storage.stat(copyName(name), { signal })) === undefined) return false
  if (set === undefined || !label.startsWith(fullLabelOf(parseBackupLabel(set)))) return true
  try {
    const { prior } = await loadManifest(storage, stanza, label, info, { partial: true, signal })
    return prior === undefined || info.backups.some((backup) => backup.label === prior)
  } catch (error) {
    signal.throwIfAborted()
    run.say(
      'warn',
      `unfinished backup ${label} is left as it is, its manifest cannot be read: ${toPlainError(error).message}`,
    )
    return true
  }
}
