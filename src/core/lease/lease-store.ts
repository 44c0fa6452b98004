import { ownPath } from '../../format/repo-path.ts'
import type { Cancellable, StorageDriver } from '../../storage/driver.ts'
import { getFile, putFile } from '../../storage/whole-file.ts'
import { isDenied, isPgtsError } from '../../util/error.ts'
import { isReleased, leaseName, leaseNumberOf, parseLease, serialiseReleased, type Lease } from './lease-file.ts'

/**
 * Where leases are in a repository. Usually `lease.json` is created, and removed at the end. Credentials may lack the
 * permission to remove: then the file is overwritten with "released", and every later lease is a file of its own with the
 * next number, because only the creation of a name that is free is safe against a second writer. The file with the highest
 * number counts, and is never removed.
 */

/** A lease that is there. */
export interface FoundLease {
  /** Absent: something is there that this program cannot read. */
  readonly lease?: Lease
  /** The later of what the holder wrote and when the store received it, milliseconds since the epoch. */
  readonly lastSignMs: number
}

export interface LeaseState {
  /** Absent: no command holds a lease. */
  readonly found?: FoundLease
  /** Of the file with the highest number; 0 is `lease.json`. */
  readonly number: number
  /** Of the file that the next lease creates. */
  readonly next: number
}

/**
 * The command that works on a stanza of this repository now, on any host; undefined when no command does, or when only programs do
 * that take no lease (pgbackrest, archive-push).
 */
export async function leaseOf(
  storage: StorageDriver,
  stanza: string,
  signal?: AbortSignal,
): Promise<FoundLease | undefined> {
  return (await lookForLease(storage, stanza, signal)).found
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
  name: string,
  options: Cancellable,
): Promise<FoundLease | 'absent' | 'released'> {
  try {
    // One after the other: usually there is none, and a request that is still pending would see the lease of this command.
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

/** Give a lease back: remove its file, or write "released" over it where it may not be removed or has a number. */
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
  // One that is not the highest serves nothing; where it may not be removed either, it stays.
  if (number > 1) await storage.remove(leaseName(stanza, number - 1), options).catch(() => undefined)
}

/** In place where the directory lets no name be replaced (chattr +a). A lease that is half written counts as held. */
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
