import type { BackupInfo } from '../../format/backup-info.ts'
import { isHistoryYear, labelOfHistoryManifest, manifestHistoryPath } from '../../format/repo-path.ts'
import { removeFiles } from '../../storage/whole-file.ts'
import { bytes, bytesToText } from '../../util/byte-string.ts'
import { HistoryRetention } from './history-retention.ts'
import { namesIn } from './names-in.ts'
import type { ExpireRun } from './expire-run.ts'

/**
 * Removes old manifests from backup.history.
 *
 * @param days undefined: keep all
 * @returns what was removed: years, and names of manifests
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
    if (retention.isYearExpired(year)) {
      run.say('info', `remove expired backup history path ${bytesToText(year)}`)
      if (!run.dryRun) await run.storage.removeTree(bytes`${path}/${year}`, { signal: run.signal })
      removed.push(year)
    } else if (retention.yearContainsLimit(year)) {
      const names = (await namesIn(run, bytes`${path}/${year}`, 'file')).reverse().filter((name) => {
        const label = labelOfHistoryManifest(name)
        return label !== undefined && retention.isManifestExpired(label, current)
      })
      for (const name of names) run.say('info', `remove expired backup history manifest ${bytesToText(name)}`)
      const full = names.map((name) => bytes`${path}/${year}/${name}`)
      if (!run.dryRun) await removeFiles(run.storage, full, { signal: run.signal })
      removed.push(...names)
    }
  }
  return removed
}
