import { fullLabelOf, parseBackupLabel } from '../../format/backup-label.ts'
import type { BackupInfo } from '../../format/backup-info.ts'
import { backupLabelPath, copyName, manifestName } from '../../format/repo-path.ts'
import { messageOf } from '../../util/error.ts'
import { loadManifest } from '../manifest-store.ts'
import type { Reconciled } from '../reconcile.ts'
import type { ExpireRun } from './expire-run.ts'

/** The decision for a label directory that is not in backup.info. */
export type LeftOver =
  | { readonly label: string; readonly keep: false; readonly why: 'expired' | 'leftover' | 'prior-gone' | 'too-old' }
  | {
      readonly label: string
      readonly keep: true
      /**
       * `may-run`: the newest, with only a copy of its manifest: in progress on another host, or to be resumed.
       * `runs-beside`: written to after a newer backup had begun, so another host writes it, or wrote it.
       * `unknown`: it has a manifest that cannot be assessed. `unreadable`: its copy cannot be read.
       */
      readonly why: 'may-run' | 'runs-beside' | 'unknown' | 'unreadable'
      /** mtime of the newest file, milliseconds since the epoch. */
      readonly changedMs?: number
    }

/** If nothing was written to a directory for this long, its backup is no longer in progress. */
export const UNFINISHED_MAX_AGE_MS = 7 * 86_400_000

/**
 * Assesses every directory without an entry in backup.info, newest first. The lock that expire holds proves that no
 * backup runs on this host; a backup on another host is only visible by its writes.
 *
 * @param gone labels that this run removes from backup.info
 */
export async function assessLeftOvers(
  run: ExpireRun,
  found: Reconciled,
  info: BackupInfo,
  gone: ReadonlySet<string>,
  set: string | undefined,
): Promise<LeftOver[]> {
  const listed = new Set(info.backups.map(({ label }) => label))
  const newest = found.directories.at(-1)
  const assessed: LeftOver[] = []
  for (const label of [...found.directories].reverse()) {
    if (listed.has(label)) continue
    run.signal.throwIfAborted()
    if (gone.has(label)) assessed.push({ label, keep: false, why: 'expired' })
    else if (found.notAssessed.includes(label)) assessed.push({ label, keep: true, why: 'unknown' })
    else assessed.push(await assessUnfinished(run, label, label === newest, info, set))
  }
  return assessed
}

async function assessUnfinished(
  run: ExpireRun,
  label: string,
  isNewest: boolean,
  info: BackupInfo,
  set: string | undefined,
): Promise<LeftOver> {
  const { storage, stanza, signal, nowMs } = run
  const name = manifestName(stanza, label)
  if ((await storage.stat(name, { signal })) !== undefined) return { label, keep: false, why: 'leftover' }
  const copy = await storage.stat(copyName(name), { signal })
  if (copy === undefined) return { label, keep: false, why: 'leftover' }
  const ofSet = set !== undefined && label.startsWith(fullLabelOf(parseBackupLabel(set)))
  if (ofSet) {
    const prior = await priorOf(run, label, info)
    if (prior === 'unreadable') return { label, keep: true, why: 'unreadable' }
    if (prior !== undefined && !info.backups.some((backup) => backup.label === prior)) {
      return { label, keep: false, why: 'prior-gone' }
    }
  }
  const laterBegan = info.backups.flatMap((other) => (other.label > label ? [other.timestampStart * 1000] : []))
  const alive = nowMs - UNFINISHED_MAX_AGE_MS
  const enough = isNewest ? alive : Math.max(alive, Math.min(...laterBegan))
  const changedMs = await changedAfter(run, label, copy.mtimeMs, enough)
  if (isNewest) {
    return changedMs > enough
      ? { label, keep: true, why: 'may-run', changedMs }
      : { label, keep: false, why: 'too-old' }
  }
  // Two backups at a time require two hosts. A backup that ended before the newer one began was not written to after
  // that.
  return changedMs > enough
    ? { label, keep: true, why: 'runs-beside', changedMs }
    : { label, keep: false, why: 'leftover' }
}

async function priorOf(run: ExpireRun, label: string, info: BackupInfo): Promise<string | undefined> {
  try {
    return (await loadManifest(run.storage, run.stanza, label, info, { partial: true, signal: run.signal })).prior
  } catch (error) {
    run.signal.throwIfAborted()
    run.say('warn', `unfinished backup ${label} is kept, because its manifest cannot be read: ${messageOf(error)}`)
    return 'unreadable'
  }
}

/** Time of the newest write in the directory; stops as soon as a file is newer than `enough`. */
async function changedAfter(
  { storage, stanza, signal }: ExpireRun,
  label: string,
  copyMs: number,
  enough: number,
): Promise<number> {
  let newest = copyMs
  if (newest > enough) return newest
  for await (const { mtimeMs } of storage.list(backupLabelPath(stanza, label), { recursive: true, signal })) {
    newest = Math.max(newest, mtimeMs)
    if (newest > enough) break
  }
  return newest
}
