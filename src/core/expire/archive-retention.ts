import { archiveIdOf, type ArchiveInfo } from '../../format/archive-info.ts'
import { backupTypeOf, compareLabels, parseBackupLabel } from '../../format/backup-label.ts'
import type { BackupEntry, BackupInfo } from '../../format/backup-info.ts'
import type { BackupType } from '../../format/manifest.ts'
import { PgtsError } from '../../util/error.ts'

/** Segments from `start` to `stop`, both included; without `stop` all segments from `start` on. */
export interface WalRange {
  readonly start: string
  readonly stop?: string
  /** The backup that needs it; undefined for --archive-expire-before. */
  readonly label?: string
}

/** The action for the WAL of one archive id (`15-1`). */
export type ArchiveRule =
  | {
      readonly archiveId: string
      readonly action: 'keep-all'
      /** There is no backup yet, or the decisive backup was made offline. */
      readonly reason: 'current-without-backup' | 'offline-backup'
    }
  | { readonly archiveId: string; readonly action: 'remove-all' }
  | {
      readonly archiveId: string
      readonly action: 'ranges'
      readonly keep: readonly WalRange[]
      /** The backup from whose start on all WAL is kept. */
      readonly label?: string
      /** 16-character directories above this one contain nothing to remove; undefined: check all. */
      readonly lastDirectory?: string
      /** Timeline history files below this timeline (8 characters) are removed; undefined: all are kept. */
      readonly firstTimeline?: string
    }

export interface ArchiveRequest {
  readonly archive: ArchiveInfo
  readonly backup: BackupInfo
  /** The backups that remain. */
  readonly kept: readonly BackupEntry[]
  readonly retention: { readonly type: BackupType; readonly count: number }
  /** 24-character segment: earlier ones are removed too, except those that a backup needs. */
  readonly expireBefore?: string
}

const TYPES: Record<BackupType, readonly BackupType[]> = {
  full: ['full'],
  diff: ['full', 'diff'],
  incr: ['full', 'diff', 'incr'],
}

/**
 * The action for each archive id, oldest first (repository-format 8.2); undefined if there are fewer backups than the
 * retention asks for, so that no WAL is removed.
 *
 * @throws PgtsError format if archive.info and backup.info contain different histories
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
    // The oldest backup that keeps all its WAL; for a cluster without such a backup its newest one.
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
 * Older backups keep the WAL that makes them consistent. The decisive backup, and every newer one, can be recovered to
 * any later point in time. A newer one usually starts later and adds nothing; after a recovery to an older timeline it
 * may start earlier.
 */
function rangeOf(entry: BackupEntry, decisive: string): WalRange[] {
  const { label, archiveStart: start, archiveStop: stop } = entry
  if (start === null) return []
  return [label < decisive && stop !== null ? { start, stop, label } : { start, label }]
}

/** True if none of the ranges needs the 16-character directory. */
export function isDirectoryUnneeded(directory: string, keep: readonly WalRange[]): boolean {
  return !keep.some(
    ({ start, stop }) => directory >= start.slice(0, 16) && (stop === undefined || directory <= stop.slice(0, 16)),
  )
}

/**
 * True if none of the ranges needs the file of a WAL directory; its name begins with the 24 characters of a segment.
 */
export function isWalFileUnneeded(fileName: string, keep: readonly WalRange[]): boolean {
  const segment = fileName.slice(0, 24)
  return !keep.some(({ start, stop }) => segment >= start && (stop === undefined || segment <= stop))
}

function requireSameHistory(archive: ArchiveInfo, backup: BackupInfo): void {
  // Compared from the newest on: a rebuilt list may lack old clusters, whose WAL no longer exists.
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
        'archive.info and backup.info contain different cluster histories, so no WAL is removed',
        {
          hints: [
            'compare the sections db:history, which must agree: one of the files may have been restored from an older copy',
          ],
        },
      )
    }
  }
}
