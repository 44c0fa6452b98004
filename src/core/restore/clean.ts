import { bytesToText, parentOf } from '../../util/byte-string.ts'
import type { Logger } from '../../util/log.ts'
import type { Layout } from './layout.ts'
import type { Ownership } from './owners.ts'
import type { PlannedPath, RestorePlan } from './plan.ts'
import {
  changeOwner,
  fixDirectory,
  makeDirectory,
  makeDirectoryTree,
  makeLink,
  removeEntry,
  statEntry,
  syncDirectory,
  type FoundEntry,
} from './file-system.ts'

/**
 * Remove pg_control, and make that survive a power cut: from here until it is written again, as the last thing, this
 * cluster cannot start.
 */
export function removeControl(pgPath: string, log: Logger): void {
  const path = `${pgPath}/global/pg_control`
  if (statEntry(path) === undefined) return
  log.detail(`remove '${bytesToText(path)}' so cluster will not start if restore does not complete`)
  removeEntry(path)
  syncDirectory(`${pgPath}/global`)
}

/**
 * Make directories and links what they are in the backup, and remove what is not in it. Files come later.
 * Existing directories get their attributes first: something may have to be removed from one that has lost its write permission.
 */
export function cleanAndPrepare(
  plan: RestorePlan,
  layout: Layout,
  ownership: Ownership,
  log: Logger,
  signal: AbortSignal,
): void {
  const roots = new Set(layout.places.map((place) => place.path))
  for (const planned of plan.paths) {
    signal.throwIfAborted()
    if (planned.found !== undefined) fixAttributes(planned, planned.found, ownership, roots.has(planned.path), log)
  }
  for (const { path, kind } of plan.remove) {
    signal.throwIfAborted()
    log.detail(`remove invalid ${kind} '${bytesToText(path)}'`)
    removeEntry(path)
  }
  for (const { entry, path, found } of plan.paths) {
    if (found !== undefined) continue
    log.detail(`create path '${bytesToText(path)}'`)
    const make = roots.has(path) || isTablespaceLocation(entry.name) ? makeDirectoryTree : makeDirectory
    make(path, entry.mode, ownership.ownerOf(entry))
  }
  for (const { link, path, found } of plan.links) {
    if (found === undefined) {
      log.detail(`create symlink '${bytesToText(path)}' to '${bytesToText(link.destination)}'`)
      makeLink(path, link.destination, ownership.ownerOf(link))
      continue
    }
    const expected = ownership.expected(link)
    if (found.uid === expected.uid && found.gid === expected.gid) continue
    log.detail(`update ownership for '${bytesToText(path)}'`)
    changeOwner(path, expected)
  }
  prepareFileLinkDirectories(plan, layout, ownership)
}

function fixAttributes(
  { entry, path }: PlannedPath,
  found: FoundEntry,
  ownership: Ownership,
  isRoot: boolean,
  log: Logger,
): void {
  // The location of a tablespace may be a mount point or shared with other versions: it stays as it was set up.
  if (isTablespaceLocation(entry.name)) return
  const expected = ownership.expected(entry)
  const wrongOwner = found.uid !== expected.uid || found.gid !== expected.gid
  const wrongMode = found.mode !== entry.mode
  if (wrongOwner) log.detail(`update ownership for '${bytesToText(path)}'`)
  if (wrongMode) log.detail(`update mode for '${bytesToText(path)}' to ${entry.mode.toString(8).padStart(4, '0')}`)
  if (!wrongOwner && !wrongMode) return
  const change = { owner: wrongOwner ? expected : undefined, mode: wrongMode ? entry.mode : undefined }
  fixDirectory(path, change, { follow: isRoot })
}

/** `pg_tblspc/16384`: where the tablespace's version directory is. */
function isTablespaceLocation(name: string): boolean {
  return /^pg_tblspc\/[0-9]+$/.test(name)
}

/** The directory of a linked file is not in the backup: when it is missing it becomes like the data directory. */
function prepareFileLinkDirectories(plan: RestorePlan, layout: Layout, ownership: Ownership): void {
  const data = plan.paths.find(({ entry }) => entry.name === 'pg_data')?.entry
  for (const place of layout.places) {
    if (place.kind !== 'file' || data === undefined) continue
    const directory = parentOf(place.path)
    if (statEntry(directory, { follow: true }) !== undefined) continue
    makeDirectoryTree(directory, data.mode, ownership.ownerOf(data))
  }
}
