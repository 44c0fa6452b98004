import type { BackupEntry } from '../../format/backup-info.ts'
import { archiveFileName, archiveIdPath } from '../../format/repo-path.ts'
import {
  nextWalSegment,
  parseLsn,
  parseTimelineHistory,
  segmentOfLsn,
  timelineHistoryFile,
  timelineOf,
  type WalSegment,
} from '../../format/wal-segment.ts'
import type { WalTimes } from '../../format/wal-times.ts'
import type { StorageDriver } from '../../storage/driver.ts'
import { inParallel } from '../../util/parallel.ts'
import { readArchived } from '../archive/find.ts'
import { segmentsIn, type ArchiveLayout } from '../info/archive-range.ts'
import { isDamage } from '../info-pair.ts'
import {
  timeWindow,
  type TimeWindow,
  type WalPiece,
  type WindowBackup,
  type WindowFacts,
  type WindowPart,
} from './compute.ts'
import { hasNoHole, listGroups, loadIndex, type IndexRow, type TimesIndex } from './times-index.ts'
import { loadGroup, type TimesArchive } from './times-store.ts'

/** The recoverable window of one archive id in one repository. */
export interface RecoverableWindow extends TimeWindow {
  readonly archiveId: string
  /** The timeline on which recovery ends: the newest one, unless another one is requested. */
  readonly timeline: number
}

export interface WindowRequest extends TimesArchive {
  readonly layout: ArchiveLayout
  /** The result of `loadIndex`, if it was requested before. */
  readonly index?: Promise<TimesIndex | undefined>
  /** Backups of the same cluster. */
  readonly backups: readonly BackupEntry[]
  /** On which recovery ends; default: the newest one. */
  readonly timeline?: number
  /**
   * At most this many directories of the archive are listed whose segments are not all recorded, newest first. In the
   * others, scanned segments count as present, and so do those that were not scanned.
   */
  readonly mostListings: number
  /** At most this many groups are read that the index does not describe completely, newest first. */
  readonly mostReads: number
}

/** What a report may read: it lists names only, and a few files. */
export function windowLimits({ parallel }: StorageDriver): Pick<WindowRequest, 'mostListings' | 'mostReads'> {
  return { mostListings: parallel === undefined ? 256 : 8, mostReads: 32 }
}

/**
 * Reads what is known about commit times, and lists the archive only where something is not known.
 *
 * @returns undefined: no backup can be restored, or nothing is known about the WAL
 */
export async function recoverableWindow(request: WindowRequest): Promise<RecoverableWindow | undefined> {
  const facts = await windowFacts(request)
  return facts === undefined ? undefined : windowOf(request.archiveId, facts)
}

export function windowOf(archiveId: string, facts: WindowFacts): RecoverableWindow | undefined {
  const window = timeWindow(facts)
  return window === undefined ? undefined : { archiveId, timeline: facts.parts.at(-1)!.timeline, ...window }
}

/** @returns undefined: no backup can be restored, or nothing is known about the WAL */
export async function windowFacts(request: WindowRequest): Promise<WindowFacts | undefined> {
  const backups = request.backups.flatMap(windowBackup)
  const { layout } = request
  if (backups.length === 0 || layout.max === null) return undefined
  const timeline = request.timeline ?? Math.max(...layout.timelines, ...layout.directories.map(timelineOf))
  const parts = await partsOf(request, timeline)
  const known = await loadKnown(request, parts)
  if (known === undefined) return undefined
  const { segmentSize } = known
  return { segmentSize, parts, pieces: await present(request, known), backups }
}

function windowBackup(entry: BackupEntry): WindowBackup[] {
  const { archiveStart, lsnStart, lsnStop, timestampStop, optionArchiveCopy: archiveCopy } = entry
  if (archiveStart === null || lsnStart === undefined || lsnStop === undefined) return []
  const timeline = timelineOf(archiveStart)
  return [{ timeline, lsnStart: parseLsn(lsnStart), lsnStop: parseLsn(lsnStop), timestampStop, archiveCopy }]
}

/** The ancestors of a timeline and itself. Without its history file only itself. */
export async function partsOf(archive: TimesArchive, timeline: number): Promise<WindowPart[]> {
  if (timeline <= 1) return [{ timeline }]
  const { storage, stanza, archiveId, cipherPass, signal } = archive
  const name = archiveFileName(stanza, archiveId, timelineHistoryFile(timeline))
  try {
    const history = await readArchived(storage, name, cipherPass, { signal })
    const switches = parseTimelineHistory(history.toString('latin1'))
    return [...switches.map((one) => ({ timeline: one.timeline, endLsn: one.switchLsn })), { timeline }]
  } catch (error) {
    signal.throwIfAborted()
    if (isDamage(error)) return [{ timeline }]
    throw error
  }
}

interface Known {
  readonly segmentSize: number
  readonly pieces: readonly WalPiece[]
}

/** Scanned segments: from the index, and from the groups that it does not describe completely. */
async function loadKnown(request: WindowRequest, parts: readonly WindowPart[]): Promise<Known | undefined> {
  const index = await (request.index ?? loadIndex(request))
  // The index names all groups, so that the number of requests does not grow with the archive.
  const groups = index?.open === undefined ? await listGroups(request) : [...index.rows.keys(), ...index.open].sort()
  const pieces: WalPiece[] = []
  let segmentSize = index === undefined || index.rows.size === 0 ? undefined : index.segmentSize
  const open: string[] = []
  for (const group of groups.reverse()) {
    const row = index?.rows.get(group)
    const isWhole =
      row !== undefined && hasNoHole(row, index!.segmentSize) && !isSwitchedIn(row, parts, index!.segmentSize)
    if (!isWhole && open.length < request.mostReads) open.push(group)
    else if (row !== undefined) pieces.push({ ...pieceOfRow(row), ...(isWhole ? {} : { scanned: false }) })
  }
  const read = await inParallel(open, request.storage.parallel ?? 1, (group) => loadGroup(request, group))
  for (const times of read) {
    if (times === undefined) continue
    segmentSize = times.segmentSize
    pieces.push(...piecesOf(times))
  }
  return segmentSize === undefined ? undefined : { segmentSize, pieces }
}

/** True if recovery leaves the timeline within the group: some of its commits are not on the path. */
function isSwitchedIn({ first, last }: IndexRow, parts: readonly WindowPart[], segmentSize: number): boolean {
  const { endLsn } = parts.find(({ timeline }) => timeline === timelineOf(first)) ?? {}
  if (endLsn === undefined) return false
  const end = segmentOfLsn(endLsn, timelineOf(first), segmentSize)
  return first <= end && end <= last
}

function pieceOfRow({ first, last, times, incomplete }: IndexRow): WalPiece {
  return { first, last, scanned: incomplete === 0, ...(times === undefined ? {} : { times }) }
}

function piecesOf({ segments }: WalTimes): WalPiece[] {
  return [...segments].map(([segment, { times, incomplete }]) => ({
    first: segment,
    last: segment,
    scanned: incomplete !== true,
    ...(times === undefined ? {} : { times }),
  }))
}

/** More would cost info more than the rest of it. */
const NEWEST_LISTED = 16

/** Removes what the archive does not contain any more, and adds segments that were not scanned. */
async function present(request: WindowRequest, { segmentSize, pieces }: Known): Promise<WalPiece[]> {
  const { layout, mostListings, storage, stanza, archiveId, signal } = request
  const directories = new Map(layout.directories.map((name) => [name, [] as WalPiece[]]))
  for (const piece of pieces) directories.get(piece.first.slice(0, 16))?.push(piece)
  const isPartly = (name: string) => !isCovered(name, directories.get(name)!, layout, segmentSize)
  const unlisted = [...directories.keys()].filter((name) => !layout.listed.has(name))
  const partly = unlisted.filter(isPartly).slice(-mostListings)
  // On a disk, segments that were removed by hand are noticed in the newest directories; verify looks at all.
  const newest = storage.parallel === undefined ? unlisted.slice(-NEWEST_LISTED) : []
  const toList = [...new Set([...partly, ...newest])]
  const path = archiveIdPath(stanza, archiveId)
  const listed = new Map(layout.listed)
  await inParallel(toList, storage.parallel ?? 1, async (directory) => {
    listed.set(directory, await segmentsIn(storage, `${path}/${directory}`, signal))
  })
  for (const [directory, known] of directories) {
    const names = listed.get(directory)
    if (names !== undefined) directories.set(directory, listedPieces(new Set(names), known))
    if (names !== undefined || !isPartly(directory)) continue
    const { first, last } = boundsOf(directory, layout, segmentSize)
    directories.set(directory, [...known, { first, last, scanned: false }])
  }
  return [...directories.values()].flat()
}

/** Scanned segments of a directory that still exist, and those that were not scanned. */
function listedPieces(names: Set<WalSegment>, known: readonly WalPiece[]): WalPiece[] {
  const pieces: WalPiece[] = []
  for (const piece of known) {
    const segments = segmentsOf(piece)
    const existing = segments.filter((segment) => names.delete(segment))
    if (existing.length === segments.length) pieces.push(piece)
    // The times of a part are not known.
    else pieces.push(...existing.map((segment) => ({ ...piece, first: segment, last: segment })))
  }
  return [...pieces, ...[...names].map((segment) => ({ first: segment, last: segment, scanned: false }))]
}

/** @param piece of one directory */
function segmentsOf({ first, last }: WalPiece): WalSegment[] {
  const [from, to] = [first, last].map((segment) => parseInt(segment.slice(16), 16)) as [number, number]
  return Array.from({ length: to - from + 1 }, (_, at) => segmentIn(first.slice(0, 16), from + at))
}

function segmentIn(directory: string, index: number): WalSegment {
  return `${directory}${index.toString(16).toUpperCase().padStart(8, '0')}` as WalSegment
}

/** The segments that a directory of the archive can have. */
function boundsOf(directory: string, { min, max }: ArchiveLayout, segmentSize: number) {
  const last = segmentIn(directory, 2 ** 32 / segmentSize - 1)
  return {
    first: min !== null && min.startsWith(directory) ? (min as WalSegment) : segmentIn(directory, 0),
    last: max !== null && max.startsWith(directory) ? (max as WalSegment) : last,
  }
}

function isCovered(directory: string, known: readonly WalPiece[], layout: ArchiveLayout, segmentSize: number): boolean {
  const { first, last } = boundsOf(directory, layout, segmentSize)
  // The usual directory is described by one row of the index.
  if (known.some((piece) => piece.first <= first && piece.last >= last)) return true
  let next: WalSegment = first
  for (const piece of [...known].sort((a, b) => (a.first < b.first ? -1 : 1))) {
    if (piece.last < next) continue
    if (piece.first > next) return false
    if (piece.last >= last) return true
    next = nextWalSegment(piece.last, segmentSize)
  }
  return false
}
