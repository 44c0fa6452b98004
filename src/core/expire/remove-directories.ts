import type { BackupInfo } from '../../format/backup-info.ts'
import { backupLabelPath } from '../../format/repo-path.ts'
import { inParallel } from '../../util/parallel.ts'
import type { ExpireRun } from './expire-run.ts'
import type { LeftOver } from './unfinished.ts'

/**
 * Removes the directories of backups that are not listed, newest first, so that a diff is removed before its full.
 * @param info with the removed backups
 * @returns their labels
 */
export async function removeDirectories(
  run: ExpireRun,
  leftOvers: readonly LeftOver[],
  info: BackupInfo,
): Promise<string[]> {
  for (const leftOver of leftOvers) logLeftOver(run, leftOver)
  const gone = leftOvers.filter(({ keep }) => !keep).map(({ label }) => label)
  const sizes = new Map(info.backups.map(({ label, repoSizeDeltaBytes }) => [label, repoSizeDeltaBytes]))
  const sizeOf = (label: string) => sizes.get(label) ?? 0
  run.progress.beginBackups(gone.map(sizeOf))
  await inParallel(gone, run.storage.parallel ?? 1, async (label) => {
    run.signal.throwIfAborted()
    run.say('info', `remove expired backup ${label}`)
    if (!run.dryRun) await run.storage.removeTree(backupLabelPath(run.stanza, label), { signal: run.signal })
    run.progress.removedBackup(sizeOf(label))
  })
  return gone
}

/** Logs every directory that is kept, and the reason of a removal that retention did not decide. */
function logLeftOver(run: ExpireRun, leftOver: LeftOver): void {
  const { label } = leftOver
  if (leftOver.keep && leftOver.changedMs !== undefined) {
    const last = new Date(leftOver.changedMs).toISOString().replace(/\.\d+Z$/, 'Z')
    const reason =
      leftOver.why === 'may-run'
        ? 'it may be in progress on another host, or can be resumed'
        : 'it was written to after a newer backup had begun, so it may be in progress on another host'
    run.say('info', `unfinished backup ${label} is kept: ${reason} (last change ${last})`)
  } else if (!leftOver.keep && leftOver.why === 'too-old') {
    run.say('info', `remove unfinished backup ${label}: nothing was written to it for more than 7 days`)
  }
}
