import { archiveIdOf, type ArchiveInfo } from '../../format/archive-info.ts'
import { backupTypeOf, compareLabels, parseBackupLabel } from '../../format/backup-label.ts'
import type { BackupEntry, BackupInfo } from '../../format/backup-info.ts'
import type { BackupType } from '../../format/manifest.ts'
import { PgtsError } from '../../util/error.ts'

/** Segments from `start` to `stop`, both included; without `stop` everything from `start` on. */
export interface WalRange {
  readonly start: string
  readonly stop?: string
  /** The backup that needs it; undefined for what the operator asked to keep. */
  readonly label?: string
}

/** What happens to the WAL of one archive id (`15-1`). */
export type ArchiveRule =
  | {
      readonly archiveId: string
      readonly action: 'keep-all'
      /** Why: no backup yet, or the backup that decides was made offline. */
      readonly reason: 'current-without-backup' | 'offline-backup'
    }
  | { readonly archiveId: string; readonly action: 'remove-all' }
  | {
      readonly archiveId: string
      readonly action: 'ranges'
      readonly keep: readonly WalRange[]
      /** The backup whose WAL is kept without end. */
      readonly label?: string
      /** 16-character directories above this one cannot hold anything that goes; undefined: look into all. */
      readonly lastDirectory?: string
      /** Timeline history files below this one (8 characters) go; undefined: they stay. */
      readonly firstTimeline?: string
    }

export interface ArchiveRequest {
  readonly archive: ArchiveInfo
  readonly backup: BackupInfo
  /** What is left after backups have expired. */
  readonly kept: readonly BackupEntry[]
  readonly retention: { readonly type: BackupType; readonly count: number }
  /** 24-character segment: what comes before it goes too, except what a backup needs. */
  readonly expireBefore?: string
}

const TYPES: Record<BackupType, readonly BackupType[]> = {
  full: ['full'],
  diff: ['full', 'diff'],
  incr: ['full', 'diff', 'incr'],
}

/**
 * What to do with each archive id, oldest first (repository-format 8.2); undefined while there are fewer backups than
 * are to be kept, so that no WAL goes.
 *
 * @throws PgtsError format when archive.info and backup.info tell different histories
 */
export function planArchive(request: ArchiveRequest): ArchiveRule[] | undefined {
  const { archive, backup, kept, retention, expireBefore } = request
  const counted = kept
    .filter(({ label }) => TYPES[retention.type].includes(backupTypeOf(parseBackupLabel(label))))
    .sort((a, b) => compareLabels(b.label, a.label))
  if (expireBefore === undefined && (counted.length === 0 || counted.length < retention.count)) return undefined
  requireSameHistory(archive, backup)
  const newest = counted.slice(0, retention.count)
  return archive.history.map((history): ArchiveRule => {
    const archiveId = archiveIdOf(history)
    const ofId = (backups: readonly BackupEntry[]) => backups.filter(({ historyId }) => historyId === history.id)
    // The oldest of those that keep all their WAL; of a cluster that has none of these, its newest backup.
    const decisive = ofId(newest).at(-1) ?? ofId(counted)[0]
    if (decisive === undefined) {
      if (history.id !== archive.currentId) return { archiveId, action: 'remove-all' }
      if (expireBefore === undefined) return { archiveId, action: 'keep-all', reason: 'current-without-backup' }
      return { archiveId, action: 'ranges', keep: [{ start: expireBefore }] }
    }
    const start = decisive.archiveStart
    if (start === null) return { archiveId, action: 'keep-all', reason: 'offline-backup' }
    const keep = ofId(kept).flatMap((entry) => rangeOf(entry, decisive.label))
    if (expireBefore !== undefined && expireBefore < start) keep.push({ start: expireBefore, stop: start })
    const open = keep.filter(({ stop }) => stop === undefined).map((range) => range.start)
    return {
      archiveId,
      action: 'ranges',
      keep,
      label: decisive.label,
      lastDirectory: start.slice(0, 16),
      firstTimeline: open.reduce((least, other) => (other < least ? other : least), start).slice(0, 8),
    }
  })
}

/**
 * Older backups keep what makes them consistent. The decisive one, and every newer, can be played on without end; a
 * newer one usually starts later and adds nothing, but after a recovery to an older timeline it may start earlier.
 */
function rangeOf(entry: BackupEntry, decisive: string): WalRange[] {
  const { label, archiveStart: start, archiveStop: stop } = entry
  if (start === null) return []
  return [label < decisive && stop !== null ? { start, stop, label } : { start, label }]
}

/** Is a 16-character directory needed by none of the ranges? */
export function directoryGoes(directory: string, keep: readonly WalRange[]): boolean {
  return !keep.some(
    ({ start, stop }) => directory >= start.slice(0, 16) && (stop === undefined || directory <= stop.slice(0, 16)),
  )
}

/** Is a file of a WAL directory, which begins with a segment's 24 characters, needed by none of the ranges? */
export function walFileGoes(fileName: string, keep: readonly WalRange[]): boolean {
  const segment = fileName.slice(0, 24)
  return !keep.some(({ start, stop }) => segment >= start && (stop === undefined || segment <= stop))
}

function requireSameHistory(archive: ArchiveInfo, backup: BackupInfo): void {
  // Newest first: a list that was rebuilt may lack clusters whose WAL is gone anyway.
  const others = [...backup.history].reverse()
  for (const [index, history] of [...archive.history].reverse().entries()) {
    const other = others[index]
    if (
      other === undefined ||
      other.id !== history.id ||
      other.systemId !== history.systemId ||
      other.version !== history.version
    ) {
      throw new PgtsError(
        'format',
        'archive.info and backup.info tell different histories of clusters, so no WAL is removed',
        {
          hints: ['was one of them restored from an older copy? The histories (section db:history) must agree'],
        },
      )
    }
  }
}
