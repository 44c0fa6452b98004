import { closeSync, constants, fsyncSync, openSync, readdirSync, readFileSync, realpathSync } from 'node:fs'
import { decodeUtf8, pathOf, textPath, textToBytes } from '../../util/byte-string.ts'
import { systemCode } from '../../util/error.ts'
import { removeTreeSync } from '../../util/remove-tree.ts'
import { doorOf, openDoor } from './spool-door.ts'
import { readIfThere, writeWhole, type SpoolPaths } from './spool-files.ts'
import { tryHold, type HeldFile } from './spool-lock.ts'

/** Whose WAL a spool is about. */
export interface SpoolOwner {
  readonly systemId: bigint
  /** Real path of the data directory, byte string. */
  readonly pgPath: string
  /** Changes with every start of the machine; '' where the system does not tell. */
  readonly bootId: string
}

/** @param pgPath pg1-path, as text */
export function spoolOwner(systemId: bigint, pgPath: string): SpoolOwner {
  return {
    systemId,
    pgPath: realpathSync.native(textPath(pgPath), { encoding: 'buffer' }).toString('latin1'),
    bootId: readBootId(),
  }
}

/**
 * - `ours`: what is in the spool was written for this cluster
 * - `claimed`: it was not, so all of it was removed; now it is ours
 * - `busy`: a background process works on it for somebody else
 */
export type Claim = 'ours' | 'claimed' | 'busy'

/**
 * See that the spool speaks of this cluster, before any of its files is believed: an `.ok` that another cluster left
 * would lose WAL, and a fetched segment of another cluster would end a recovery. What belongs to others is removed, for
 * pushing again what is there already does no harm. What was fetched is not synced, so it is not believed after a
 * restart of the machine.
 *
 * Both background processes hold their lock as long as they live, so none of them writes for the old owner meanwhile.
 *
 * @param holds the lock that this process has already, when it is a background process
 * @throws the system's error; lock files are opened with koffi's flock only when there is something to change
 */
export async function claimSpool(
  spool: SpoolPaths,
  owner: SpoolOwner,
  holds: 'push' | 'get' | undefined = undefined,
): Promise<Claim> {
  if (sameOwner(readOwner(spool), owner)) return 'ours'
  const held: HeldFile[] = []
  try {
    for (const kind of ['push', 'get'] as const) {
      if (kind === holds) continue
      const lock = await tryHold(lockFileOf(spool, kind))
      if (lock === undefined) return 'busy'
      held.push(lock)
    }
    // Somebody else may have done it while we waited for the locks.
    const current = readOwner(spool)
    if (sameOwner(current, owner)) return 'ours'
    const sameCluster = current !== undefined && sameOwner({ ...current, bootId: owner.bootId }, owner)
    // The doors of others close before anything of ours is behind them.
    openDoor(spool, doorOf(spool, owner))
    if (!sameCluster) empty(spool.out)
    empty(spool.in)
    writeWhole(spool, ownerFileOf(spool), serialise(owner))
    return 'claimed'
  } finally {
    for (const lock of held) lock.release()
  }
}

/** Does the spool still speak of this cluster? A background process asks before it goes on. */
export function isOwner(spool: SpoolPaths, owner: SpoolOwner): boolean {
  return sameOwner(readOwner(spool), owner)
}

export function lockFileOf(spool: SpoolPaths, kind: 'push' | 'get'): string {
  return `${spool.own}/${kind}.lock`
}

function ownerFileOf(spool: SpoolPaths): string {
  return `${spool.own}/cluster`
}

/** The removal is made durable before the new owner is named, or a power cut could bring back what another left. */
function empty(directory: string): void {
  let names: string[]
  try {
    names = readdirSync(pathOf(directory), { encoding: 'latin1' })
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return
    throw error
  }
  for (const name of names) removeTreeSync(`${directory}/${name}`)
  const fd = openSync(pathOf(directory), constants.O_RDONLY | constants.O_DIRECTORY)
  try {
    fsyncSync(fd)
  } catch (error) {
    if (systemCode(error) !== 'EINVAL' && systemCode(error) !== 'ENOTSUP') throw error
  } finally {
    closeSync(fd)
  }
}

const FORMAT = 1

function serialise({ systemId, pgPath, bootId }: SpoolOwner): string {
  const text = JSON.stringify({ format: FORMAT, systemId: String(systemId), pgPath: decodeUtf8(pgPath), bootId })
  return textToBytes(`${text}\n`)
}

/** undefined: nobody, or what cannot be understood. */
function readOwner(spool: SpoolPaths): SpoolOwner | undefined {
  const file = readIfThere(ownerFileOf(spool))
  if (file === undefined) return undefined
  try {
    const value = JSON.parse(decodeUtf8(file.text)) as Record<string, unknown>
    const { format, systemId, pgPath, bootId } = value
    if (format !== FORMAT || typeof pgPath !== 'string' || typeof bootId !== 'string') return undefined
    return { systemId: BigInt(String(systemId)), pgPath: textToBytes(pgPath), bootId }
  } catch {
    return undefined
  }
}

function sameOwner(a: SpoolOwner | undefined, b: SpoolOwner): boolean {
  return a !== undefined && a.systemId === b.systemId && a.pgPath === b.pgPath && a.bootId === b.bootId
}

function readBootId(): string {
  try {
    return readFileSync('/proc/sys/kernel/random/boot_id', 'latin1').trim()
  } catch {
    // Not Linux.
    return ''
  }
}
