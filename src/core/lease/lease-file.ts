import { ownPath } from '../../format/repo-path.ts'

/** The process that works on a stanza of a repository, as it wrote it down there. */
export interface Lease {
  /** Unique to this run. */
  readonly token: string
  readonly host: string
  readonly pid: number
  readonly command: string
  /** Milliseconds since the epoch, by the holder's clock: begun, and the last sign of life. */
  readonly sinceMs: number
  readonly renewedMs: number
  /** What proves that two processes see the same flocks; absent where the system does not provide it. */
  readonly place?: HostPlace
}

export interface HostPlace {
  /** Of the running kernel: another one after each boot. */
  readonly boot: string
  /** Of the installation, hashed. */
  readonly machine: string
  /** Device and inode of the lock path. */
  readonly lockPath: string
}

/**
 * `lease.json`, or `lease-N.json` in a repository where the released `lease.json` could not be removed: there each lease is
 * a file with the next number, and the file with the highest number counts.
 */
export function leaseName(stanza: string, number = 0): string {
  return `${ownPath(stanza)}/lease${number === 0 ? '' : `-${number}`}.json`
}

/** @param name the last part of a file name */
export function leaseNumberOf(name: string): number | undefined {
  const number = /^lease-([1-9]\d{0,14})\.json$/.exec(name)?.[1]
  return number === undefined ? undefined : Number(number)
}

export function serialiseLease(lease: Lease): Buffer {
  return Buffer.from(`${JSON.stringify({ version: VERSION, ...lease })}\n`)
}

/** What takes the place of a lease that was given back, where it cannot be removed. */
export function serialiseReleased(): Buffer {
  return Buffer.from(`${JSON.stringify({ version: VERSION, released: true })}\n`)
}

export function isReleased(bytes: Buffer): boolean {
  const value = parseJson(bytes)
  return isRecord(value) && value.version === VERSION && value.released === true
}

/** undefined: it is not one, or of a later version. The process that wrote it holds the lease all the same. */
export function parseLease(bytes: Buffer): Lease | undefined {
  const value = parseJson(bytes)
  if (!isRecord(value) || value.version !== VERSION) return undefined
  const { token, host, pid, command, sinceMs, renewedMs, place } = value
  const times = [sinceMs, renewedMs].every((time) => Number.isSafeInteger(time) && Math.abs(time as number) <= MAX_TIME)
  if (typeof token !== 'string' || typeof host !== 'string' || typeof command !== 'string') return undefined
  if (!Number.isSafeInteger(pid) || !times) return undefined
  return {
    token,
    host: shown(host),
    pid: pid as number,
    command: shown(command),
    sinceMs: sinceMs as number,
    renewedMs: renewedMs as number,
    place: isPlace(place) ? { boot: place.boot, machine: place.machine, lockPath: place.lockPath } : undefined,
  }
}

function parseJson(bytes: Buffer): unknown {
  try {
    return JSON.parse(bytes.toString('utf8'))
  } catch {
    return undefined
  }
}

const VERSION = 1
/** What a Date can hold. */
const MAX_TIME = 8.64e15

/** It is printed on terminals, and any process that can write to the repository can write it. */
function shown(text: string): string {
  return text.replaceAll(/[\u0000-\u001f\u007f-\u009f]/g, '?').slice(0, 200)
}

function isPlace(value: unknown): value is HostPlace {
  return isRecord(value) && ['boot', 'machine', 'lockPath'].every((key) => typeof value[key] === 'string')
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null
}
