import { bytes, bytesToText, parentOf } from '../../util/byte-string.ts'
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

/** Removes pg_control durably: the cluster cannot start until pg_control is written again as the last step. */
export function removeControl(pgPath: string, log: Logger): void {
  const path = bytes`${pgPath}/global/pg_control`
  if (statEntry(path) === undefined) return
  log.detail(`remove '${bytesToText(path)}' so cluster will not start if restore does not complete`)
  removeEntry(path)
  syncDirectory(bytes`${pgPath}/global`)
}

/**
 * Creates and fixes directories and links as in the backup, and removes entries that are not in it. Files follow later.
 * Existing directories get their attributes first: entries may have to be removed from a directory without write
 * permission.
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
    // The data directory exists: the manifest was written into it before.
    if (found !== undefined || entry.name === 'pg_data') continue
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
  // The location of a tablespace may be a mount point or shared with other versions: its attributes are not changed.
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

/** `pg_tblspc/16384`: the location, which contains the version directory of the tablespace. */
function isTablespaceLocation(name: string): boolean {
  return /^pg_tblspc\/[0-9]+$/.test(name)
}

/**
 * The directory of a linked file is not in the backup: if it is missing, it is created with the attributes of the data
 * directory.
 */
function prepareFileLinkDirectories(plan: RestorePlan, layout: Layout, ownership: Ownership): void {
  const data = plan.paths.find(({ entry }) => entry.name === 'pg_data')?.entry
  for (const place of layout.places) {
    if (place.kind !== 'file' || data === undefined) continue
    const directory = parentOf(place.path)
    if (statEntry(directory, { follow: true }) !== undefined) continue
    makeDirectoryTree(directory, data.mode, ownership.ownerOf(data))
  }
}
