import { decrypt, encrypt, isEncrypted } from '../../codec/cipher.ts'
import { archiveInfoName, walTimesName } from '../../format/repo-path.ts'
import { lsnOfSegment, nextWalSegment, segmentOfLsn, timelineOf, type WalSegment } from '../../format/wal-segment.ts'
import { groupOf, parseWalTimes, serialiseWalTimes, type SegmentTimes, type WalTimes } from '../../format/wal-times.ts'
import type { StorageDriver } from '../../storage/driver.ts'
import { getFile, putFile } from '../../storage/whole-file.ts'
import type { ByteString } from '../../util/byte-string.ts'
import { isPgtsError } from '../../util/error.ts'
import { inParallel } from '../../util/parallel.ts'
import { joinSegments, type ScannedSegment } from './segment-scan.ts'

/** The archive of one cluster in one repository. */
export interface TimesArchive {
  readonly storage: StorageDriver
  readonly stanza: string
  /** `15-1` */
  readonly archiveId: string
  /** Passphrase of the archive; absent: the repository is not encrypted. */
  readonly cipherPass?: string
  readonly signal: AbortSignal
}

/** 256 segments with restore points in each take less. */
const MOST_BYTES = 16 * 1024 * 1024

/**
 * A group of segments; undefined if it is missing or unusable: its times are unknown then.
 *
 * @throws errors of the storage
 */
export async function loadGroup(archive: TimesArchive, group: string): Promise<WalTimes | undefined> {
  const text = await loadText(archive, walTimesName(archive.stanza, archive.archiveId, group))
  return text === undefined ? undefined : parseWalTimes(text, group)
}

export async function saveGroup(archive: TimesArchive, group: string, times: WalTimes): Promise<void> {
  await saveText(archive, walTimesName(archive.stanza, archive.archiveId, group), serialiseWalTimes(times))
}

export async function loadText(
  { storage, cipherPass, signal }: TimesArchive,
  name: ByteString,
): Promise<string | undefined> {
  try {
    const stored = await getFile(storage, name, { signal }, MOST_BYTES)
    if (isEncrypted(stored) !== (cipherPass !== undefined)) return undefined
    return (cipherPass === undefined ? stored : decrypt(stored, cipherPass)).toString()
  } catch (error) {
    if (isPgtsError(error, 'file-missing') || isPgtsError(error, 'crypto') || isPgtsError(error, 'file-invalid'))
      return undefined
    throw error
  }
}

export async function saveText({ storage, cipherPass, signal }: TimesArchive, name: ByteString, text: Buffer) {
  await putFile(storage, name, cipherPass === undefined ? text : encrypt(text, cipherPass), { signal })
}

/**
 * Adds segments to their groups. Another process that writes the same group at this moment can lose them: their times are unknown then.
 *
 * @returns groups that did not exist before
 */
export async function addSegments(archive: TimesArchive, scanned: readonly ScannedSegment[]): Promise<string[]> {
  const byGroup = new Map<string, ScannedSegment[]>()
  for (const one of scanned) byGroup.set(groupOf(one.segment), [...(byGroup.get(groupOf(one.segment)) ?? []), one])
  const major = Number.parseInt(archive.archiveId, 10)
  const added = await inParallel([...byGroup], archive.storage.parallel ?? 1, async ([group, ofGroup]) => {
    const existing = await loadGroup(archive, group)
    // A directory that was unmounted or removed: nothing may be created there.
    if (existing === undefined && !(await isStanzaThere(archive))) return []
    const { segmentSize } = ofGroup[0]!
    const segments = new Map(existing?.segmentSize === segmentSize ? existing.segments : [])
    for (const { segment, times } of ofGroup) if (!isKnown(segments.get(segment), times)) segments.set(segment, times)
    for (const { segment } of ofGroup) joinNeighbours(segments, segment, segmentSize, major)
    await saveGroup(archive, group, { segmentSize, segments })
    return existing === undefined ? [group] : []
  })
  for (const [before, after] of groupBorders(scanned)) await joinGroups(archive, before, after, major)
  return added.flat()
}

/** The last segment of a group and the first of the next one, where one of both was added. */
function groupBorders(scanned: readonly ScannedSegment[]): Map<WalSegment, WalSegment> {
  const borders = new Map<WalSegment, WalSegment>()
  for (const { segment, segmentSize } of scanned) {
    const lsn = lsnOfSegment(segment, segmentSize)
    const next = nextWalSegment(segment, segmentSize)
    if (groupOf(next) !== groupOf(segment)) borders.set(segment, next)
    if (!segment.endsWith('00') || lsn === 0n) continue
    borders.set(segmentOfLsn(lsn - BigInt(segmentSize), timelineOf(segment), segmentSize), segment)
  }
  return borders
}

/** Joins a record that crosses two groups. The later one is saved first, so that the record is not lost in between. */
async function joinGroups(archive: TimesArchive, before: WalSegment, after: WalSegment, major: number): Promise<void> {
  const groups = [groupOf(before), groupOf(after)] as const
  const [one, two] = await Promise.all(groups.map((group) => loadGroup(archive, group)))
  const [previous, next] = [one?.segments.get(before), two?.segments.get(after)]
  if (previous === undefined || next === undefined || (previous.head === undefined && next.rest === undefined)) return
  const joined = joinSegments(previous, next, major)
  await saveGroup(archive, groups[1], { ...two!, segments: new Map(two!.segments).set(after, joined.next) })
  await saveGroup(archive, groups[0], { ...one!, segments: new Map(one!.segments).set(before, joined.previous) })
}

async function isStanzaThere({ storage, stanza, signal }: TimesArchive): Promise<boolean> {
  return (await storage.stat(archiveInfoName(stanza), { signal })) !== undefined
}

/** A segment that is pushed again would lose what was joined with its neighbours. */
function isKnown(known: SegmentTimes | undefined, { commits, times = [Infinity, 0] }: SegmentTimes): boolean {
  if (known === undefined || known.incomplete === true || known.commits < commits) return false
  const [earliest, latest] = known.times ?? [Infinity, 0]
  return earliest <= times[0] && latest >= times[1]
}

/** Joins the segment with the one before and the one after it, if they are in the same group. */
function joinNeighbours(
  segments: Map<WalSegment, SegmentTimes>,
  segment: WalSegment,
  segmentSize: number,
  major: number,
): void {
  const before = previousInGroup(segment)
  if (before !== undefined) joinPair(segments, before, segment, major)
  joinPair(segments, segment, nextWalSegment(segment, segmentSize), major)
}

function joinPair(segments: Map<WalSegment, SegmentTimes>, one: WalSegment, two: WalSegment, major: number): void {
  const [previous, next] = [segments.get(one), segments.get(two)]
  if (previous === undefined || next === undefined) return
  const joined = joinSegments(previous, next, major)
  segments.set(one, joined.previous)
  segments.set(two, joined.next)
}

function previousInGroup(segment: WalSegment): WalSegment | undefined {
  const last = Number.parseInt(segment.slice(22), 16)
  if (last === 0) return undefined
  return (segment.slice(0, 22) + (last - 1).toString(16).toUpperCase().padStart(2, '0')) as WalSegment
}
