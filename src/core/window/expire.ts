import type { ArchiveInfo } from '../../format/archive-info.ts'
import { walTimesName, walTimesPath } from '../../format/repo-path.ts'
import { isWalSegment, type WalSegment } from '../../format/wal-segment.ts'
import { groupOf } from '../../format/wal-times.ts'
import { removeFiles } from '../../storage/whole-file.ts'
import { messageOf } from '../../util/error.ts'
import { inParallel } from '../../util/parallel.ts'
import type { ExpireRun } from '../expire/expire-run.ts'
import type { ArchiveRemoval } from '../expire/remove-archive.ts'
import { groupsAndIndex, writeIndex } from './times-index.ts'
import { loadGroup, saveGroup, type TimesArchive } from './times-store.ts'

/** Segments that were removed from an archive id: from the first to the last name, which may be those of directories. */
export interface RemovedRange {
  readonly start: string
  readonly stop: string
}

/** The archive id was removed completely. */
async function removeTimes({ storage, stanza, archiveId, signal }: TimesArchive): Promise<void> {
  await storage.removeTree(walTimesPath(stanza, archiveId), { signal })
}

/** Removes what is known about removed segments, so that they are not taken for present. */
export async function expireTimes(archive: TimesArchive, removed: readonly RemovedRange[]): Promise<void> {
  if (removed.length === 0) return
  const isRemoved = (name: string) =>
    removed.some(({ start, stop }) => name >= start && name.slice(0, stop.length) <= stop)
  const { groups, index } = await groupsAndIndex(archive)
  const whole = groups.filter((group) => isRemoved(`${group}00`) && isRemoved(`${group}FF`))
  const names = whole.map((group) => walTimesName(archive.stanza, archive.archiveId, group))
  await removeFiles(archive.storage, names, { signal: archive.signal })
  const touched = groups.filter((group) => !whole.includes(group) && isTouched(group, removed))
  await inParallel(touched, archive.storage.parallel ?? 1, async (group) => {
    const times = await loadGroup(archive, group)
    if (times === undefined) return
    const segments = new Map([...times.segments].filter(([segment]) => !isRemoved(segment)))
    if (segments.size < times.segments.size) await saveGroup(archive, group, { ...times, segments })
  })
  await writeIndex(archive, touched, { groups: groups.filter((group) => !whole.includes(group)), index })
}

/** A range begins or ends in the group. */
function isTouched(group: string, removed: readonly RemovedRange[]): boolean {
  const isIn = (name: string): name is WalSegment => isWalSegment(name) && groupOf(name) === group
  return removed.some(({ start, stop }) => isIn(start) || isIn(stop))
}

/**
 * Removes what is known about removed WAL. A failure only leaves `info` with entries of WAL that is gone.
 *
 * @returns `removals`
 */
export async function forgetTimes(
  run: ExpireRun,
  removals: readonly ArchiveRemoval[],
  archiveInfo: Promise<ArchiveInfo>,
): Promise<readonly ArchiveRemoval[]> {
  if (run.dryRun) return removals
  const { storage, stanza, signal } = run
  const { cipherPass } = await archiveInfo
  for (const { archiveId, whole, ranges } of removals) {
    const archive = { storage, stanza, archiveId, signal, ...(cipherPass === undefined ? {} : { cipherPass }) }
    try {
      await (whole ? removeTimes(archive) : expireTimes(archive, ranges))
    } catch (error) {
      signal.throwIfAborted()
      run.say('detail', `cannot remove the commit times of expired WAL: ${messageOf(error)}`)
    }
  }
  return removals
}
