import { ownPath } from '../../format/repo-path.ts'
import { bytes, type ByteString } from '../../util/byte-string.ts'
import { isObject } from '../../util/is-object.ts'

/** The command that holds the lease of a stanza, as recorded in the repository. */
export interface Lease {
  /** Unique to this run. */
  readonly token: string
  readonly host: string
  readonly pid: number
  readonly command: string
  /** Start and last renewal, milliseconds since the epoch, by the holder's clock. */
  readonly sinceMs: number
  readonly renewedMs: number
  /** Shows whether two processes see the same flocks; absent if the system does not provide it. */
  readonly place?: HostPlace
}

export interface HostPlace {
  /** Id of the boot of the running kernel. */
  readonly boot: string
  /** Hashed id of the installation. */
  readonly machine: string
  /** Device and inode of the lock path. */
  readonly lockPath: string
}

/**
 * `lease.json`, or `lease-N.json` in a repository where the released `lease.json` could not be removed: there each
 * lease is a file with the next number, and only the file with the highest number is valid.
 */
export function leaseName(stanza: string, number = 0): ByteString {
  return bytes`${ownPath(stanza)}/lease${number === 0 ? '' : `-${number}`}.json`
}

/** @param name file name without directory */
export function leaseNumberOf(name: string): number | undefined {
  const number = /^lease-([1-9]\d{0,14})\.json$/.exec(name)?.[1]
  return number === undefined ? undefined : Number(number)
}

export function serialiseLease(lease: Lease): Buffer {
  return Buffer.from(`${JSON.stringify({ version: VERSION, ...lease })}\n`)
}

/** Content that replaces a released lease that cannot be removed. */
export function serialiseReleased(): Buffer {
  return Buffer.from(`${JSON.stringify({ version: VERSION, released: true })}\n`)
}

export function isReleased(bytes: Buffer): boolean {
  const value = parseJson(bytes)
  return isObject(value) && value.version === VERSION && value.released === true
}

/** undefined: the file is invalid, or of a later version. It still means that a process holds the lease. */
export function parseLease(bytes: Buffer): Lease | undefined {
  const value = parseJson(bytes)
  if (!isObject(value) || value.version !== VERSION) return undefined
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
/** Range of a Date. */
const MAX_TIME = 8.64e15

/** Limits the text, because it is printed on terminals, and any process with access to the repository can write it. */
function shown(text: string): string {
  return text.replaceAll(/[\u0000-\u001f\u007f-\u009f]/g, '?').slice(0, 200)
}

function isPlace(value: unknown): value is HostPlace {
  return isObject(value) && ['boot', 'machine', 'lockPath'].every((key) => typeof value[key] === 'string')
}
