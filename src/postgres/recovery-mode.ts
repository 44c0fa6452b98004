import { existsSync, readFileSync } from 'node:fs'
import { bytes, pathOf } from '../util/byte-string.ts'

/**
 * What a server in this data directory does at the end of its archive:
 *
 * - `archive-recovery`: it ends recovery and becomes a primary (recovery.signal; before 12 recovery.conf)
 *  - `standby`: it keeps asking for WAL (standby.signal; before 12 standby_mode)
 * - `none`: it does not recover from an archive, or this is not a data directory
 *
 * @param dataDir absolute byte string
 */
export function recoveryMode(dataDir: string): 'none' | 'archive-recovery' | 'standby' {
  const has = (name: string) => existsSync(pathOf(bytes`${dataDir}/${name}`))
  if (has('standby.signal')) return 'standby'
  if (has('recovery.signal')) return 'archive-recovery'
  let conf: string
  try {
    conf = readFileSync(pathOf(bytes`${dataDir}/recovery.conf`), 'latin1')
  } catch {
    return has('recovery.conf') ? 'archive-recovery' : 'none'
  }
  return isStandbyConf(conf) ? 'standby' : 'archive-recovery'
}

/** As for the server, the last setting is used; it accepts every unambiguous prefix of these words. */
function isStandbyConf(conf: string): boolean {
  const settings = [...conf.matchAll(/^[ \t]*standby_mode[ \t]*(?:=[ \t]*)?(?:'([^'\n]*)'|([^\s'#]+))/gim)]
  const last = settings.at(-1)
  const value = (last?.[1] ?? last?.[2] ?? 'off').trim().toLowerCase()
  return value === '1' || value === 'on' || (value !== '' && ['true', 'yes'].some((word) => word.startsWith(value)))
}
