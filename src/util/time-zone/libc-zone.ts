import fs from 'node:fs'
import { posixZone } from './posix-zone.ts'
import { fileZone, parseZoneFile, withRulesOf, type ZoneFile } from './tzif.ts'
import { UTC, type Zone } from './zone.ts'

export interface ZoneEnvironment {
  readonly TZ?: string
  readonly TZDIR?: string
}

const SYSTEM_ZONE = '/etc/localtime'
const DATABASE = '/usr/share/zoneinfo'

/**
 * The time zone of a program with this environment, as glibc determines it: a file of the tz database, by name or path,
 * else a POSIX TZ string; UTC if TZ is neither. Node accepts names only.
 *
 * @see tzset(3)
 */
export function libcZone({ TZ, TZDIR }: ZoneEnvironment): Zone {
  if (TZ === '') return UTC
  const text = TZ?.replace(/^:/, '') ?? SYSTEM_ZONE
  if (text === '') return UTC
  const database = TZDIR === undefined || TZDIR === '' ? DATABASE : TZDIR
  const load = (name: string) => loadZoneFile(name.startsWith('/') ? name : `${database}/${name}`)
  const file = load(text)
  if (file !== undefined) return fileZone(file)
  if (text === SYSTEM_ZONE) return UTC
  const zone = posixZone(text)
  if (!zone.lacksRules) return zone
  const rules = load('posixrules')
  return (rules === undefined ? undefined : withRulesOf(rules, zone)) ?? zone
}

/** More than the largest file (20 KiB). TZ may name any file. */
const MOST_BYTES = 1024 * 1024

function loadZoneFile(path: string): ZoneFile | undefined {
  try {
    const stat = fs.statSync(path)
    return stat.isFile() && stat.size <= MOST_BYTES ? parseZoneFile(fs.readFileSync(path)) : undefined
  } catch {
    return undefined // no such zone, or unreadable: glibc continues in the same way
  }
}
