import { ownPath } from '../../format/repo-path.ts'
import type { Cancellable, StorageDriver } from '../../storage/driver.ts'
import { getFile, putFile } from '../../storage/whole-file.ts'
import { isDenied, isPgtsError } from '../../util/error.ts'
import { isReleased, leaseName, leaseNumberOf, parseLease, serialiseReleased, type Lease } from './lease-file.ts'
import type { ByteString } from '../../util/byte-string.ts'

/**
 * Stores leases in a repository. Usually `lease.json` is created, and removed at the end. If the credentials may not
 * remove files, it is overwritten with "released", and every later lease is a new file with the next number, because
 * only the creation of a new name is safe against a second writer. Only the file with the highest number is valid; it
 * is never removed.
 */

/** An existing lease. */
export interface FoundLease {
  /** Absent: the file exists, but this program cannot read it. */
  readonly lease?: Lease
  /** The later of the holder's time and the time of the store, milliseconds since the epoch. */
  readonly lastSignMs: number
}

export interface LeaseState {
  /** Absent: no command holds a lease. */
  readonly found?: FoundLease
  /** Number of the newest file; 0 is `lease.json`. */
  readonly number: number
  /** Number of the file that the next lease creates. */
  readonly next: number
}

/**
 * The command on any host that currently holds the lease of a stanza; undefined if there is none. Programs that take no
 * lease (pgbackrest, archive-push) are not seen.
 */
export async function leaseOf(
  storage: StorageDriver,
  stanza: string,
  signal?: AbortSignal,
): Promise<FoundLease | undefined> {
  return (await lookForLease(storage, stanza, signal)).found
}

/** True if this lease is still in its file: nothing can replace it there but a command that breaks it. */
export async function holdsLease(
  storage: StorageDriver,
  stanza: string,
  number: number,
  token: string,
): Promise<boolean> {
  try {
    return parseLease(await getFile(storage, leaseName(stanza, number)))?.token === token
  } catch (error) {
    if (isPgtsError(error, 'file-missing')) return false
    throw error
  }
}

export async function lookForLease(storage: StorageDriver, stanza: string, signal?: AbortSignal): Promise<LeaseState> {
  const options = signal === undefined ? {} : { signal }
  const first = await readLease(storage, leaseName(stanza), options)
  if (first === 'absent') return { number: 0, next: 0 }
  if (first !== 'released') return { found: first, number: 0, next: 0 }
  const number = await highestNumber(storage, stanza, options)
  if (number === 0) return { number, next: 1 }
  const last = await readLease(storage, leaseName(stanza, number), options)
  const next = number + 1
  return typeof last === 'string' ? { number, next } : { found: last, number, next }
}

async function readLease(
  storage: StorageDriver,
  name: ByteString,
  options: Cancellable,
): Promise<FoundLease | 'absent' | 'released'> {
  try {
    // Sequential, not parallel: usually the file is missing, and a pending stat could see the lease that this command
    // creates next.
    const bytes = await getFile(storage, name, options)
    const stored = await storage.stat(name, options)
    if (stored === undefined) return 'absent'
    if (isReleased(bytes)) return 'released'
    const lease = parseLease(bytes)
    return {
      lease,
      lastSignMs: Math.max(stored.mtimeMs, lease?.renewedMs ?? 0),
    }
  } catch (error) {
    if (isPgtsError(error, 'file-missing')) return 'absent'
    throw error
  }
}

async function highestNumber(storage: StorageDriver, stanza: string, options: Cancellable): Promise<number> {
  let highest = 0
  for await (const { name } of storage.list(ownPath(stanza), { ...options, namesOnly: true })) {
    highest = Math.max(highest, leaseNumberOf(name.slice(name.lastIndexOf('/') + 1)) ?? 0)
  }
  return highest
}

/** Releases a lease: removes its file, or overwrites it with "released" if it cannot be removed or has a number. */
export async function clearLease(
  storage: StorageDriver,
  stanza: string,
  number: number,
  options: Cancellable = {},
): Promise<void> {
  if (number === 0) {
    try {
      return await storage.remove(leaseName(stanza), options)
    } catch (error) {
      if (!isDenied(error)) throw error
    }
  }
  await overwriteLease(storage, stanza, number, serialiseReleased(), options)
  // A file that is not the newest has no effect; if it cannot be removed, it stays.
  if (number > 1) await storage.remove(leaseName(stanza, number - 1), options).catch(() => undefined)
}

/** Overwritten in place if the directory forbids replacing a name (chattr +a). A partially written lease means held. */
export async function overwriteLease(
  storage: StorageDriver,
  stanza: string,
  number: number,
  bytes: Uint8Array,
  options: Cancellable,
): Promise<void> {
  const name = leaseName(stanza, number)
  try {
    await putFile(storage, name, bytes, options)
  } catch (error) {
    if (storage.links === undefined) throw error
    await putFile(storage, name, bytes, { ...options, unreferenced: true })
  }
}
