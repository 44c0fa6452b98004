import { createHash } from 'node:crypto'
import { readFileSync, realpathSync, statSync, symlinkSync } from 'node:fs'
import {
  asBytes,
  bytes,
  decodeUtf8,
  pathOf,
  textPath,
  textToBytes,
  type ByteString,
} from '../../../util/byte-string.ts'
import { systemCode } from '../../../util/error.ts'
import { makeDirectories } from '../../../util/make-directories.ts'
import { removeTreeSync } from '../../../util/remove-tree.ts'
import { syncDirectory } from '../../../util/sync-directory.ts'
import { namesIn, readIfExists, removeIfExists, writeAtomic, type SpoolPaths } from './spool-files.ts'
import { livingPid, tryHold, type HeldFile } from './spool-lock.ts'

/** The cluster that uses a spool. */
export interface SpoolOwner {
  readonly systemId: bigint
  /** Real path of the data directory, byte string. */
  readonly pgPath: ByteString
  /** Changes with every start of the host; '' if the system has none. */
  readonly bootId: string
}

/** @param pgPath pg1-path, as text */
export function spoolOwner(systemId: bigint, pgPath: string): SpoolOwner {
  return {
    systemId,
    pgPath: asBytes(realpathSync.native(textPath(pgPath), { encoding: 'buffer' }).toString('latin1')),
    bootId: readBootId(),
  }
}

/**
 * - `ours`: the spool belongs to this cluster
 * - `claimed`: it belonged to another one; its files were removed, and now it belongs to this cluster
 * - `busy`: a background process of another cluster is running
 */
export type Claim = 'ours' | 'claimed' | 'busy'

/**
 * Take the spool for this cluster, before any of its files is trusted: an `.ok` of another cluster would lose WAL, and a
 * fetched segment of another cluster would end a recovery. Files of other clusters are removed; files that repositories
 * have are then found there again. Fetched segments are not synced, so they are not trusted after a restart of the host.
 *
 * A background process holds its lock until it ends, so no process writes for the former owner while the locks are held.
 *
 * @param holds the lock of this process, if it is a background process
 * @throws the error of the system; flock is loaded only when something has to be changed
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
    // Another process may have claimed it while this one waited for the locks.
    const current = readOwner(spool)
    if (sameOwner(current, owner)) return 'ours'
    const sameCluster = current !== undefined && sameOwner({ ...current, bootId: owner.bootId }, owner)
    // Before any file of this cluster is written: paths through other owner directories must not reach it.
    makeOwnerDirectory(spool, ownerDirectoryOf(spool, owner))
    if (!sameCluster) emptyDirectory(spool.out)
    emptyDirectory(spool.in)
    writeAtomic(spool, ownerFileOf(spool), serialise(owner))
    return 'claimed'
  } finally {
    for (const lock of held) lock.release()
  }
}

const OWNER_DIRECTORY = 'get-door-'
const MODE = 0o750

/**
 * The owner directory: links to the parts of the spool, for fencing between clusters. A cluster that takes the spool over
 * removes all other owner directories before it writes anything, so that a path through one never reaches a file of
 * another cluster, also if a launcher is stopped for a long time between two system calls.
 *
 * @returns absolute byte string; the name has the prefix of earlier releases
 */
export function ownerDirectoryOf(spool: SpoolPaths, owner: SpoolOwner): ByteString {
  const hash = createHash('sha256')
  for (const part of [owner.systemId, owner.pgPath, owner.bootId]) hash.update(`${part}\0`)
  return bytes`${spool.own}/${OWNER_DIRECTORY}${hash.digest('hex').slice(0, 32)}`
}

/** Create it, and remove those of all other owners. The caller holds one of the locks of the spool. */
export function makeOwnerDirectory(spool: SpoolPaths, ownerDirectory: ByteString): void {
  for (const name of namesIn(spool.own)) {
    const path = bytes`${spool.own}/${name}`
    // A launcher may create a request in it (get/get-requests.ts) while it is being removed.
    if (name.startsWith(OWNER_DIRECTORY) && path !== ownerDirectory) removeTreeSync(path)
  }
  makeDirectories(ownerDirectory, MODE)
  for (const [name, target] of [
    ['in', '../../in'],
    ['out', '../../out'],
    ['pgts', '..'],
  ] as const) {
    try {
      symlinkSync(target, pathOf(bytes`${ownerDirectory}/${name}`))
    } catch (error) {
      if (systemCode(error) !== 'EEXIST') throw error
    }
  }
}

export function isOwnerDirectory(ownerDirectory: string): boolean {
  return statSync(pathOf(bytes`${ownerDirectory}/in`), { throwIfNoEntry: false }) !== undefined
}

/** Does the spool still belong to this cluster? */
export function isOwner(spool: SpoolPaths, owner: SpoolOwner): boolean {
  return sameOwner(readOwner(spool), owner)
}

export function lockFileOf(spool: SpoolPaths, kind: 'push' | 'get'): ByteString {
  return bytes`${spool.own}/${kind}.lock`
}

function ownerFileOf(spool: SpoolPaths): ByteString {
  return bytes`${spool.own}/cluster`
}

/** Durable: a power failure must not restore files of a former owner. */
export function emptyDirectory(directory: ByteString): void {
  for (const name of namesIn(directory)) removeTreeSync(bytes`${directory}/${name}`)
  syncDirectory(directory)
}

const FORMAT = 1

function serialise({ systemId, pgPath, bootId }: SpoolOwner): string {
  const text = JSON.stringify({ format: FORMAT, systemId: String(systemId), pgPath: decodeUtf8(pgPath), bootId })
  return textToBytes(`${text}\n`)
}

/** undefined: none, or the file cannot be parsed. */
function readOwner(spool: SpoolPaths): SpoolOwner | undefined {
  const file = readIfExists(ownerFileOf(spool))
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
    // Not Linux
    return ''
  }
}

/**
 * An `.ok` means that a file is in every repository that was configured when it was written. The spool therefore records
 * the repositories. If they change (one is added or moves), every `.ok` is removed, and each file is looked up in the
 * repositories again.
 *
 * @param targets the repositories as one line, without secrets; a byte string
 */
export async function claimTargets(spool: SpoolPaths, targets: string): Promise<'ours' | 'busy'> {
  if (isFor(spool, targets)) return 'ours'
  // The background process of the former configuration acknowledges files until it ends.
  const pid = livingPid(spool, 'push')
  const lock = await tryHold(lockFileOf(spool, 'push'))
  if (lock === undefined) {
    if (pid !== undefined) endProcess(pid)
    return 'busy'
  }
  try {
    setTargets(spool, targets)
  } finally {
    lock.release()
  }
  return 'ours'
}

/** For the process that holds push.lock. */
export function setTargets(spool: SpoolPaths, targets: string): void {
  if (isFor(spool, targets)) return
  forgetPushed(spool)
  writeAtomic(spool, targetsFileOf(spool), targets)
}

/** Does the spool record these repositories? */
export function isFor(spool: SpoolPaths, targets: string): boolean {
  return readIfExists(targetsFileOf(spool))?.text === targets
}

/** Remove every `.ok`: each file is looked up in the repositories again. */
export function forgetPushed(spool: SpoolPaths): void {
  for (const name of namesIn(spool.out)) if (name.endsWith('.ok')) removeIfExists(bytes`${spool.out}/${name}`)
}

function targetsFileOf(spool: SpoolPaths): ByteString {
  return bytes`${spool.own}/push-targets`
}

function endProcess(pid: number): void {
  try {
    process.kill(pid, 'SIGTERM')
  } catch {
    // It has ended, or it belongs to another user: the lock shows whether it is running.
  }
}
