import { archiveIdOf } from '../../format/archive-info.ts'
import type { ManifestFileList } from '../../format/manifest.ts'
import type { VerifiedArchive } from './archive.ts'
import type { ReadPieces } from './findings.ts'
import type { ArchiveResult, BackupResult, FaultyFile } from './report.ts'
import { asBytes, bytesToText } from '../../util/byte-string.ts'
import type { KnownBackup, ManifestHead } from './request.ts'

export interface AssessRequest {
  /** Oldest first. */
  readonly backups: readonly KnownBackup[]
  /** The files of a backup, for the consequences of a fault; undefined: its manifest is no longer usable. */
  filesOf(label: string): Promise<ManifestFileList | undefined>
  /** What was read of a backup's own files; undefined if nothing was read in this run. */
  readOf(label: string): ReadPieces | undefined
  readonly archives: readonly VerifiedArchive[]
  faultyWal(archiveId: string): readonly FaultyFile[]
}

/** Determines which backups can be restored, and how far each can be recovered. */
export async function assessBackups(request: AssessRequest): Promise<BackupResult[]> {
  const results: BackupResult[] = []
  /** Label -> names of files that are not intact in this backup. */
  const broken = new Map<string, ReadonlySet<string> | 'all'>()
  const present = new Set(request.backups.map(({ label }) => label))
  for (const { label, manifest, pieces, inProgress } of request.backups) {
    const nothing = { label, checked: 0, valid: 0, faulty: [], reasons: [], orphans: [], unproven: 0 }
    if (manifest === undefined || pieces === undefined) {
      results.push({ ...nothing, status: inProgress ? 'in-progress' : 'manifest missing' })
      if (!inProgress) broken.set(label, 'all')
      continue
    }
    const read = request.readOf(label)
    const faulty = [...pieces.wrong, ...(read?.faulty ?? [])]
    if (faulty.length > 0) broken.set(label, new Set(faulty.map(({ name }) => name)))
    const { reasons, ...recovery } = assessWal(manifest, request)
    reasons.unshift(...(await referenceReasons(manifest, present, broken, request)))
    results.push({
      label,
      status: faulty.length > 0 || reasons.length > 0 ? 'invalid' : 'valid',
      checked: (read?.checked ?? 0) + pieces.wrong.length,
      valid: (read?.checked ?? 0) - (read?.faulty.length ?? 0),
      faulty,
      reasons,
      orphans: pieces.orphans,
      unproven: pieces.unproven,
      ...recovery,
    })
  }
  return results
}

/** Why the backup is invalid because of a backup that it refers to. */
async function referenceReasons(
  manifest: ManifestHead,
  present: ReadonlySet<string>,
  broken: ReadonlyMap<string, ReadonlySet<string> | 'all'>,
  request: AssessRequest,
): Promise<string[]> {
  const reasons: string[] = []
  for (const label of manifest.references) {
    if (!present.has(label)) reasons.push(`it builds on ${label}, which is not in the repository`)
    const names = broken.get(label)
    if (label === manifest.label || names === undefined) continue
    if (names === 'all') {
      reasons.push(`it builds on ${label}, which has no usable manifest`)
      continue
    }
    const files = await request.filesOf(manifest.label)
    if (files === undefined) {
      reasons.push(`it builds on ${label}, where ${names.size} files are not intact`)
      continue
    }
    // A block incremental file may have blocks in any backup of the chain.
    let needed = 0
    let first = asBytes('')
    for (const { name, reference, blockMapSize } of files) {
      if (!names.has(name) || (reference !== label && blockMapSize === undefined)) continue
      if (needed++ === 0) first = name
    }
    if (needed > 0)
      reasons.push(`${needed} of its files are stored in ${label} and not intact there, first ${bytesToText(first)}`)
  }
  return reasons
}

/**
 * Without the WAL from its start to its stop a backup is not consistent; the later WAL determines how far it can be
 * recovered.
 */
function assessWal(
  manifest: ManifestHead,
  request: AssessRequest,
): { reasons: string[]; recoverableTo?: string; stopsBefore?: string } {
  const { archiveStart, archiveStop, db, options } = manifest
  // An offline backup, or one that contains its WAL.
  if (archiveStart === undefined || archiveStop === undefined) return { reasons: [] }
  const archiveId = archiveIdOf({ id: db.historyId, version: db.version })
  const archive = request.archives.find((one) => one.archiveId === archiveId)
  const last = archive?.reach(archiveStart)
  const faulty = request
    .faultyWal(archiveId)
    .map(({ name }) => name)
    .filter((name) => name >= archiveStart && name <= (last ?? archiveStop))
    .sort()
  const first = faulty[0]
  const reasons: string[] = []
  if (!options.archiveCopy) {
    if (last === undefined) reasons.push(`its first WAL segment ${archiveStart} is not in the archive`)
    else if (last < archiveStop) reasons.push(`WAL after segment ${last} is missing before its stop ${archiveStop}`)
    if (first !== undefined && first <= archiveStop)
      reasons.push(`WAL segment ${bytesToText(first)}, between its start and stop, is not intact`)
  }
  if (reasons.length > 0 || last === undefined) return { reasons }
  return { reasons, recoverableTo: last, stopsBefore: first }
}

/**
 * Expire keeps only the WAL from start to stop of older backups, so such a gap begins after the stop of a backup and
 * ends at the start of another. Any other gap is a loss.
 */
export function assessGaps(archive: VerifiedArchive, backups: readonly KnownBackup[]): ArchiveResult['gaps'] {
  const own = backups.flatMap(({ manifest }) =>
    manifest !== undefined &&
    archiveIdOf({ id: manifest.db.historyId, version: manifest.db.version }) === archive.archiveId
      ? [manifest]
      : [],
  )
  const starts = new Set(own.map(({ archiveStart }) => archiveStart))
  const stops = new Set(own.map(({ archiveStop }) => archiveStop))
  return archive.gaps.map(({ after, before, first, last, missing }) => ({
    first,
    last,
    missing,
    byExpire: stops.has(after) && starts.has(before),
  }))
}
