import { createHash } from 'node:crypto'
import { readdirSync, statSync, symlinkSync } from 'node:fs'
import { pathOf } from '../../util/byte-string.ts'
import { systemCode } from '../../util/error.ts'
import { makeDirectories } from '../../util/make-directories.ts'
import { removeTreeSync } from '../../util/remove-tree.ts'
import type { SpoolPaths } from './spool-files.ts'
import type { SpoolOwner } from './spool-identity.ts'

const DOOR = 'get-door-'
const MODE = 0o750

/**
 * The owner's way into the spool: a directory of links to its parts. Whoever takes the spool over removes all other
 * doors before anything of its own appears in `in/`. A path through a door therefore never leads to another cluster's
 * file, not even for a launcher that was stopped for an hour between looking and taking.
 */
export function doorOf(spool: SpoolPaths, owner: SpoolOwner): string {
  const hash = createHash('sha256')
  for (const part of [owner.systemId, owner.pgPath, owner.bootId]) hash.update(`${part}\0`)
  return `${spool.own}/${DOOR}${hash.digest('hex').slice(0, 32)}`
}

/** Make this owner's door the only one. Only for a process that holds one of the spool's locks. */
export function openDoor(spool: SpoolPaths, door: string): void {
  for (const name of readdirSync(pathOf(spool.own), { encoding: 'latin1' })) {
    const path = `${spool.own}/${name}`
    // A launcher may leave a request (async-get/move-on-request.ts) while it is being removed.
    if (name.startsWith(DOOR) && path !== door) removeTreeSync(path)
  }
  makeDirectories(door, MODE)
  for (const [name, target] of [
    ['in', '../../in'],
    ['out', '../../out'],
    ['pgts', '..'],
  ] as const) {
    try {
      symlinkSync(target, pathOf(`${door}/${name}`))
    } catch (error) {
      if (systemCode(error) !== 'EEXIST') throw error
    }
  }
}

export function isOpen(door: string): boolean {
  return statSync(pathOf(`${door}/in`), { throwIfNoEntry: false }) !== undefined
}
