import { walTimesIndexName, walTimesPath } from '../../format/repo-path.ts'
import { isWalSegment, nextWalSegment, segmentIndex, type WalSegment } from '../../format/wal-segment.ts'
import { groupOf, groupOfFile, type Span, type WalTimes } from '../../format/wal-times.ts'
import { inParallel } from '../../util/parallel.ts'
import { baseName } from '../archive/find.ts'
import { loadGroup, loadText, saveText, type TimesArchive } from './times-store.ts'

/**
 * What the index says about a group, so that `info` reads one file instead of thousands. The newest group, which still
 * grows, has no row.
 */
export interface IndexRow {
  readonly first: WalSegment
  readonly last: WalSegment
  /** Number of segments in the group: fewer than from `first` to `last` if some were not scanned, or are missing. */
  readonly count: number
  readonly times?: Span
  /** Number of segments of which not everything is known. */
  readonly incomplete: number
}

export interface TimesIndex {
  readonly segmentSize: number
  readonly rows: ReadonlyMap<string, IndexRow>
  /** Groups without a row, sorted. Absent: written by an earlier release, which did not list them. */
  readonly open?: readonly string[]
}

const VERSION = 1

/** Names of the groups that have a file. */
export async function listGroups({ storage, stanza, archiveId, signal }: TimesArchive): Promise<string[]> {
  const groups: string[] = []
  for await (const { name } of storage.list(walTimesPath(stanza, archiveId), { namesOnly: true, signal })) {
    const group = groupOfFile(baseName(name))
    if (group !== undefined) groups.push(group)
  }
  return groups.sort()
}

export async function loadIndex(archive: TimesArchive): Promise<TimesIndex | undefined> {
  const text = await loadText(archive, walTimesIndexName(archive.stanza, archive.archiveId))
  return text === undefined ? undefined : parseIndex(text)
}

/** True for the first and the last segment of a group: the row of the group changes, also if a later one exists already. */
export function isEndOfGroup(segment: WalSegment, segmentSize: number): boolean {
  return segment.endsWith('00') || groupOf(nextWalSegment(segment, segmentSize)) !== groupOf(segment)
}

/**
 * Writes the rows of groups that have none, and of changed ones. Called when a group begins or is full, so twice for 256
 * segments.
 *
 * @param changed groups whose rows are outdated
 * @param mostReads at most this many groups are read, newest first; the others have no row
 */
export async function refreshIndex(
  archive: TimesArchive,
  changed: readonly string[],
  mostReads = Infinity,
): Promise<void> {
  await writeIndex(archive, changed, await groupsAndIndex(archive), mostReads)
}

export interface GroupsAndIndex {
  /** Names of the groups that have a file, sorted. */
  readonly groups: readonly string[]
  readonly index: TimesIndex | undefined
}

export async function groupsAndIndex(archive: TimesArchive): Promise<GroupsAndIndex> {
  const [groups, index] = await Promise.all([listGroups(archive), loadIndex(archive)])
  return { groups, index }
}

/** As `refreshIndex`, with what was read before. */
export async function writeIndex(
  archive: TimesArchive,
  changed: readonly string[],
  { groups, index }: GroupsAndIndex,
  mostReads = Infinity,
): Promise<void> {
  const rows = new Map<string, IndexRow>()
  let segmentSize = index?.segmentSize ?? 0
  const outdated = groups.slice(0, -1).filter((group) => {
    const row = changed.includes(group) ? undefined : index?.rows.get(group)
    if (row !== undefined) rows.set(group, row)
    return row === undefined
  })
  const read = outdated.slice(-Math.min(mostReads, outdated.length))
  await inParallel(read, archive.storage.parallel ?? 1, async (group) => {
    const times = await loadGroup(archive, group)
    if (times === undefined || times.segments.size === 0) return
    segmentSize = times.segmentSize
    rows.set(group, rowOf(times))
  })
  const open = groups.filter((group) => !rows.has(group))
  const isSame = rows.size === (index?.rows.size ?? 0) && String(open) === String(index?.open ?? [])
  if (read.length === 0 && isSame) return
  const sorted = [...rows].sort(([a], [b]) => (a < b ? -1 : 1))
  const text = JSON.stringify({ version: VERSION, segmentSize, groups: Object.fromEntries(sorted), open })
  await saveText(archive, walTimesIndexName(archive.stanza, archive.archiveId), Buffer.from(`${text}\n`))
}

function rowOf({ segments }: WalTimes): IndexRow {
  const names = [...segments.keys()].sort()
  const all = [...segments.values()]
  const times = all.flatMap((one) => one.times ?? [])
  return {
    first: names[0]!,
    last: names.at(-1)!,
    count: names.length,
    ...(times.length === 0 ? {} : { times: [Math.min(...times), Math.max(...times)] }),
    incomplete: all.filter(({ incomplete }) => incomplete).length,
  }
}

/** True if every segment from the first to the last is in the group. */
export function hasNoHole({ first, last, count }: IndexRow, segmentSize: number): boolean {
  return segmentIndex(last, segmentSize) - segmentIndex(first, segmentSize) + 1 === count
}

function parseIndex(text: string): TimesIndex | undefined {
  try {
    const { version, segmentSize, groups, open } = JSON.parse(text) as Record<string, unknown>
    if (version !== VERSION || !Number.isSafeInteger(segmentSize)) return undefined
    const rows = Object.entries(groups as Record<string, unknown>)
    if (!rows.every((row): row is [string, IndexRow] => isRow(row[1]))) return undefined
    const isListed = Array.isArray(open) && open.every((group) => typeof group === 'string')
    return { segmentSize: segmentSize as number, rows: new Map(rows), ...(isListed ? { open: open as string[] } : {}) }
  } catch {
    return undefined
  }
}

function isRow(value: unknown): value is IndexRow {
  if (typeof value !== 'object' || value === null) return false
  const { first, last, count, times, incomplete } = value as Record<string, unknown>
  const isName = (name: unknown) => typeof name === 'string' && isWalSegment(name)
  return (
    isName(first) &&
    isName(last) &&
    Number.isSafeInteger(count) &&
    Number.isSafeInteger(incomplete) &&
    (times === undefined || (Array.isArray(times) && times.length === 2 && times.every(Number.isSafeInteger)))
  )
}
