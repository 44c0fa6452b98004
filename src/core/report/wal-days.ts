import { archiveIdPath, isWalDirectory } from '../../format/repo-path.ts'
import { parseArchivedSegment } from '../../format/wal-segment.ts'
import type { StorageDriver } from '../../storage/driver.ts'
import type { ByteString } from '../../util/byte-string.ts'
import { localDateTime, timeOfLocalWall } from '../../util/local-time.ts'
import { inParallel } from '../../util/parallel.ts'

/** The WAL that was stored in a repository on one day. */
export interface WalDay {
  /** Local date, `2026-11-30`. */
  readonly day: string
  readonly segments: number
  /** Stored size, bytes. */
  readonly sizeBytes: number
}

export interface WalDaysRequest {
  readonly storage: StorageDriver
  readonly stanza: ByteString
  readonly archiveId: string
  /** Seconds since 1970; earlier segments are left out, and directories with only such segments end the search. */
  readonly since: number
  readonly until: number
  readonly signal: AbortSignal
}

/**
 * Counts archived segments by the day on which they were stored. Lists the archive from its newest directory backward, so
 * that the cost depends on the period and not on the age of the archive.
 */
export async function walPerDay(request: WalDaysRequest): Promise<WalDay[]> {
  const { storage, since } = request
  const directories = await walDirectories(request)
  const atOnce = storage.parallel ?? 1
  const days = new Map<string, { segments: number; sizeBytes: number }>()
  for (let next = 0; next < directories.length; next += atOnce) {
    const part = directories.slice(next, next + atOnce)
    const newest = await inParallel(part, atOnce, (directory) => addDirectory(request, directory, days))
    if (newest.some((time) => time !== undefined && time < since)) break
  }
  return withoutHoles(days)
}

/** Newest first: by log position, because a new timeline continues where the old one ended. */
async function walDirectories({ storage, stanza, archiveId, signal }: WalDaysRequest): Promise<string[]> {
  const path = archiveIdPath(stanza, archiveId)
  const directories: string[] = []
  for await (const { name, kind } of storage.list(path, { namesOnly: true, signal })) {
    if (kind === 'path' && isWalDirectory(name.slice(path.length + 1))) directories.push(name)
  }
  const position = (name: string) => name.slice(-8) + name.slice(-16)
  return directories.sort((a, b) => (position(a) < position(b) ? 1 : -1))
}

/** @returns when the newest segment of the directory was stored; undefined if it has none */
async function addDirectory(
  { storage, since, until, signal }: WalDaysRequest,
  directory: string,
  days: Map<string, { segments: number; sizeBytes: number }>,
): Promise<number | undefined> {
  let newest: number | undefined
  for await (const { name, sizeBytes, mtimeMs } of storage.list(directory, { signal })) {
    const archived = parseArchivedSegment(name.slice(directory.length + 1))
    if (archived === undefined || archived.partial) continue
    const time = Math.floor(mtimeMs / 1000)
    newest = Math.max(newest ?? time, time)
    if (time < since || time > until) continue
    const day = localDateTime(time).slice(0, 10)
    const sum = days.get(day) ?? { segments: 0, sizeBytes: 0 }
    days.set(day, { segments: sum.segments + 1, sizeBytes: sum.sizeBytes + sizeBytes })
  }
  return newest
}

function withoutHoles(days: ReadonlyMap<string, { segments: number; sizeBytes: number }>): WalDay[] {
  const known = [...days.keys()].sort()
  const [first, last] = [known[0], known.at(-1)]
  if (first === undefined || last === undefined) return []
  const all: WalDay[] = []
  for (let day = first; day <= last; day = dayAfter(day)) {
    all.push({ day, ...(days.get(day) ?? { segments: 0, sizeBytes: 0 }) })
  }
  return all
}

/** Noon plus a day is on the next day, also when the clock changes. */
function dayAfter(day: string): string {
  return localDateTime(startOfDay(day) + 36 * 3600).slice(0, 10)
}

/** @returns midnight in local time, seconds since 1970 */
export function startOfDay(day: string): number {
  return timeOfLocalWall(Date.parse(`${day}T00:00:00Z`) / 1000)
}
