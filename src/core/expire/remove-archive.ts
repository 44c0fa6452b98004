import { archiveIdPath, archivePath, isArchiveId, isWalDirectory } from '../../format/repo-path.ts'
import { isTimelineHistoryFile } from '../../format/wal-segment.ts'
import { removeFiles } from '../../storage/whole-file.ts'
import { bytes, bytesToText, type ByteString } from '../../util/byte-string.ts'
import { inParallel } from '../../util/parallel.ts'
import { isDirectoryUnneeded, isWalFileUnneeded, type ArchiveRule } from './archive-retention.ts'
import { listNames, namesIn } from './names-in.ts'
import type { ExpireRun } from './expire-run.ts'

/** What was removed from one archive id. */
export interface ArchiveRemoval {
  readonly archiveId: string
  /** The whole archive id was removed. */
  readonly whole: boolean
  /** Consecutive removals: segments (24 characters), or whole directories (16 characters). */
  readonly ranges: readonly { readonly start: string; readonly stop: string }[]
  /** Timeline history files. */
  readonly historyFiles: readonly string[]
}

type RangesRule = Extract<ArchiveRule, { action: 'ranges' }>

/** Archive ids with a directory. */
export async function archiveIdsIn(run: ExpireRun): Promise<string[]> {
  return (await namesIn(run, archivePath(run.stanza), 'path')).filter(isArchiveId)
}

/**
 * @param rules for every archive id of archive.info
 * @param present archive ids with a directory; others are skipped
 */
export async function removeArchive(
  run: ExpireRun,
  rules: readonly ArchiveRule[],
  present: readonly string[],
): Promise<ArchiveRemoval[]> {
  const removals: ArchiveRemoval[] = []
  for (const rule of rules) {
    const { archiveId } = rule
    if (!present.includes(archiveId)) continue
    run.signal.throwIfAborted()
    if (rule.action === 'ranges') removals.push(await removeOutside(run, rule))
    else if (rule.action === 'remove-all') {
      run.say('info', `${archiveId} remove archive: no backup of this cluster is left`)
      if (!run.dryRun) await run.storage.removeTree(archiveIdPath(run.stanza, archiveId), { signal: run.signal })
      removals.push({ archiveId, whole: true, ranges: [], historyFiles: [] })
    } else {
      const why = rule.reason === 'offline-backup' ? 'its backup was made offline' : 'it has no backup yet'
      run.say('info', `${archiveId} no archive to remove: ${why}`)
    }
  }
  return removals
}

async function removeOutside(run: ExpireRun, rule: RangesRule): Promise<ArchiveRemoval> {
  const { archiveId, keep } = rule
  const path = archiveIdPath(run.stanza, archiveId)
  for (const { start, stop, label } of keep) {
    const why = label === undefined ? 'as requested' : `for backup ${label}`
    run.say(
      'detail',
      `${archiveId} keep archive ${why}, start = ${start}${stop === undefined ? '' : `, stop = ${stop}`}`,
    )
  }
  const removed = new Ranges()
  const files: string[] = []
  const directories: string[] = []
  const listed = await listNames(run, path)
  for (const { directory, names } of await affectedDirectories(run, rule, path, listed.path)) {
    if (names === undefined) {
      directories.push(directory)
      removed.add(directory)
      continue
    }
    for (const name of names) {
      if (isWalFileUnneeded(name, keep)) {
        files.push(`${path}/${directory}/${name}`)
        removed.add(name.slice(0, 24))
      } else removed.interrupt()
    }
  }
  if (!run.dryRun) {
    run.progress.addWal(directories.length)
    await removeFiles(run.storage, files, { signal: run.signal })
    await inParallel(directories, atOnce(run), async (directory) => {
      await run.storage.removeTree(`${path}/${directory}`, { signal: run.signal })
      run.progress.removedWal(1)
    })
  }
  for (const directory of directories) run.say('detail', `${archiveId} remove archive path ${directory}`)
  for (const { start, stop } of removed.ranges) {
    run.say('info', `${archiveId} remove archive, start = ${start}, stop = ${stop}`)
  }
  if (removed.ranges.length === 0) run.say('info', `${archiveId} no archive to remove`)
  return {
    archiveId,
    whole: false,
    ranges: removed.ranges,
    historyFiles: await removeHistoryFiles(run, rule, path, listed.file),
  }
}

/** A directory costs a listing and a removal of a few hundred names: little memory, and mostly network latency. */
function atOnce({ storage: { parallel = 1 } }: ExpireRun): number {
  return parallel === 1 ? 1 : 4 * parallel
}

/** In order: directories to remove as a whole (without names), and directories with segments to remove. */
async function affectedDirectories(
  run: ExpireRun,
  { keep, lastDirectory }: RangesRule,
  path: string,
  paths: readonly string[],
): Promise<readonly { readonly directory: string; readonly names?: readonly string[] }[]> {
  const affected = paths
    .filter(isWalDirectory)
    .filter(
      (directory) => isDirectoryUnneeded(directory, keep) || lastDirectory === undefined || directory <= lastDirectory,
    )
  return inParallel(affected, atOnce(run), async (directory) => {
    run.signal.throwIfAborted()
    if (isDirectoryUnneeded(directory, keep)) return { directory }
    return { directory, names: (await namesIn(run, `${path}/${directory}`, 'file')).filter(isOfSegment) }
  })
}

/** Removes histories of timelines that have no remaining WAL. */
async function removeHistoryFiles(
  run: ExpireRun,
  rule: RangesRule,
  path: string,
  present: readonly ByteString[],
): Promise<string[]> {
  const { firstTimeline } = rule
  if (firstTimeline === undefined) return []
  const files = present.filter((name) => isTimelineHistoryFile(name) && name.slice(0, 8) < firstTimeline)
  const names = files.map((name) => bytes`${path}/${name}`)
  if (!run.dryRun) await removeFiles(run.storage, names, { signal: run.signal })
  for (const name of files) run.say('info', `${rule.archiveId} remove history file ${bytesToText(name)}`)
  return files
}

/** A segment under any of its names: stored, partial, or its backup history file. */
function isOfSegment(name: string): boolean {
  return /^[0-9A-F]{24}/.test(name)
}

/** Joins consecutive removals into ranges. */
class Ranges {
  readonly ranges: { start: string; stop: string }[] = []
  #open = false

  add(name: string): void {
    const last = this.ranges.at(-1)
    if (this.#open && last !== undefined) last.stop = name
    else this.ranges.push({ start: name, stop: name })
    this.#open = true
  }

  interrupt(): void {
    this.#open = false
  }
}
