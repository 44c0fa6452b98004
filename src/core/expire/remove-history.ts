import type { BackupInfo } from '../../format/backup-info.ts'
import { isHistoryYear, labelOfHistoryManifest, manifestHistoryPath } from '../../format/repo-path.ts'
import { HistoryRetention } from './history-retention.ts'
import { namesIn } from './names-in.ts'
import type { ExpireRun } from './run.ts'

/**
 * Remove old manifests from backup.history.
 *
 * @param days undefined: keep them forever
 * @returns what went: years, and names of manifests
 */
export async function removeHistory(
  run: ExpireRun,
  days: number | undefined,
  nowSeconds: number,
  info: BackupInfo,
): Promise<string[]> {
  if (days === undefined) return []
  const retention = new HistoryRetention(days, nowSeconds)
  const current = new Set(info.backups.map(({ label }) => label))
  const path = manifestHistoryPath(run.stanza)
  const removed: string[] = []
  for (const year of (await namesIn(run, path, 'path')).filter(isHistoryYear)) {
    run.signal.throwIfAborted()
    if (retention.yearGoes(year)) {
      run.say('info', `remove expired backup history path ${year}`)
      if (!run.dryRun) await run.storage.removeTree(`${path}/${year}`, { signal: run.signal })
      removed.push(year)
    } else if (retention.yearIsMixed(year)) {
      for (const name of (await namesIn(run, `${path}/${year}`, 'file')).reverse()) {
        const label = labelOfHistoryManifest(name)
        if (label === undefined || !retention.manifestGoes(label, current)) continue
        run.say('info', `remove expired backup history manifest ${name}`)
        if (!run.dryRun) await run.storage.remove(`${path}/${year}/${name}`, { signal: run.signal })
        removed.push(name)
      }
    }
  }
  return removed
}
