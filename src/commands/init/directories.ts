import { chmodSync, chownSync, mkdirSync, statSync, type Stats } from 'node:fs'
import { makeDirectories } from '../../util/make-directories.ts'
import { parentOf, pathOf, textPath, textToBytes } from '../../util/byte-string.ts'
import { PgtsError, messageOf } from '../../util/error.ts'
import { syncDirectory } from '../../util/sync-directory.ts'
import { asOwner, type Owner } from './owner.ts'
import type { Purpose } from './report.ts'

/** A directory that pgts needs, and whether it must be made. */
export interface NeededDirectory {
  readonly path: string
  readonly purpose: Purpose
  readonly exists: boolean
  /** Why it cannot be used or made by this user; undefined if nothing prevents it. */
  readonly problem?: string
}

const MODE = 0o750
const PARENT_MODE = 0o755

/** Compares directories with what the owner may do; changes nothing. */
export async function inspectDirectories(
  owner: Owner,
  wanted: readonly { readonly path: string; readonly purpose: Purpose }[],
): Promise<NeededDirectory[]> {
  const groups = await asOwner(owner, async () => process.getgroups?.() ?? [owner.gid])
  const isRoot = process.geteuid?.() === 0
  return wanted.map(({ path, purpose }) => {
    const found = statOf(path)
    if (found === undefined) return { path, purpose, exists: false, problem: isRoot ? undefined : parentProblem(path) }
    if (!found.isDirectory()) return { path, purpose, exists: true, problem: `${path} is not a directory` }
    // Root writes the configuration; the owner only reads it.
    const wantedBits = purpose === 'configuration' && isRoot ? 0o1 : 0o3
    const isUsable = (bitsFor(found, owner, groups) & wantedBits) === wantedBits
    const verb = wantedBits === 0o1 ? 'enter' : 'write to'
    return { path, purpose, exists: true, problem: isUsable ? undefined : `${owner.name} cannot ${verb} ${path}` }
  })

  /** As the owner: the closest directory that exists must be writable. */
  function parentProblem(path: string): string | undefined {
    const parent = closest(path)
    const stats = statOf(parent)
    if (stats !== undefined && (bitsFor(stats, owner, groups) & 0o3) === 0o3) return undefined
    return `${owner.name} cannot create ${path}: ${parent} is not writable`
  }
}

/** [047] for the first directory that this user can neither use nor make, with the command that an administrator runs. */
export function requireDirectories(directories: readonly NeededDirectory[], owner: Owner): void {
  const blocked = directories.filter(({ problem }) => problem !== undefined)
  if (blocked.length === 0) return
  const missing = blocked.filter(({ exists }) => !exists).map(({ path }) => path)
  const existing = blocked.filter(({ exists }) => exists).map(({ path }) => path)
  const group = String(owner.gid)
  throw new PgtsError('path-create', blocked.map(({ problem }) => problem).join('; '), {
    hints: [
      ...(process.geteuid?.() === 0 ? [] : ['run init as root, which creates the directories: sudo pgts init']),
      ...(missing.length === 0
        ? []
        : [`or create them: sudo install -d -o ${owner.name} -g ${group} -m 0750 ${missing.join(' ')}`]),
      ...(existing.length === 0 ? [] : [`let ${owner.name} write to ${existing.join(', ')}, or choose other paths`]),
    ],
  })
}

/** Makes the missing directories, durably; the configuration directory stays with root, if root makes it. */
export function makeNeeded(directories: readonly NeededDirectory[], owner: Owner): void {
  const isRoot = process.geteuid?.() === 0
  for (const { path, purpose, exists } of directories) {
    if (exists) continue
    const bytes = textToBytes(path)
    try {
      if (statOf(dirOf(path)) === undefined) makeDirectories(parentOf(bytes), PARENT_MODE)
      mkdirSync(pathOf(bytes), { mode: MODE })
      chmodSync(pathOf(bytes), MODE)
      if (isRoot) chownSync(pathOf(bytes), purpose === 'configuration' ? 0 : owner.uid, owner.gid)
      syncDirectory(parentOf(bytes))
    } catch (cause) {
      throw new PgtsError('path-create', `cannot create ${path}: ${messageOf(cause)}`, { cause })
    }
  }
}

/** The bits rwx that these permissions give the owner. */
function bitsFor({ uid, gid, mode }: Stats, owner: Owner, groups: readonly number[]): number {
  if (owner.uid === 0) return 0o7
  if (uid === owner.uid) return (mode >> 6) & 0o7
  return (gid === owner.gid || groups.includes(gid) ? mode >> 3 : mode) & 0o7
}

function statOf(path: string): Stats | undefined {
  try {
    return statSync(textPath(path), { throwIfNoEntry: false })
  } catch {
    return undefined // a parent that this user may not enter, or that is a file
  }
}

function closest(path: string): string {
  const parent = dirOf(path)
  return parent === '/' || statOf(parent) !== undefined ? parent : closest(parent)
}

function dirOf(path: string): string {
  return path.slice(0, path.lastIndexOf('/')) || '/'
}
