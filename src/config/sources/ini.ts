import { PgtsError } from '../../util/error.ts'
import type { CommandName } from '../command-table.ts'
import { nearestName, parseOptionName } from '../option-name.ts'
import { isMulti, optionRow } from '../option-table.ts'
import { settingId, type Setting } from '../setting.ts'
import { nameToShow } from '../shown.ts'

/** One line of a file that sets an option. */
export interface IniEntry {
  readonly section: string
  readonly key: string
  readonly value: string
  /** `/etc/pgbackrest.conf line 12`. */
  readonly origin: string
}

/** As pgbackrest trims: blanks, tabs and line ends only; a no-break space can belong to a passphrase. */
function trim(text: string): string {
  return text.replace(/^[ \t\r\n]+|[ \t\r\n]+$/g, '')
}

/**
 * The dialect of pgbackrest.conf: trimmed lines, `#` begins a comment line, `[section]`, `key = value` split at the
 * first `=`. Anything else is an error [029] with its line.
 */
export function parseIni(text: string, path: string): IniEntry[] {
  const entries: IniEntry[] = []
  let section: string | undefined
  for (const [index, raw] of text
    .replace(/^\ufeff/, '')
    .split('\n')
    .entries()) {
    const line = trim(raw)
    const origin = `${path} line ${index + 1}`
    const bad = (message: string) => new PgtsError('format', `${origin}: ${message}`)
    if (line === '' || line.startsWith('#')) continue
    if (line.startsWith('[')) {
      if (!line.endsWith(']')) throw bad('a section begins with [ but does not end with ]')
      section = trim(line.slice(1, -1))
      if (section === '') throw bad('a section needs a name')
      continue
    }
    if (section === undefined) throw bad('there is text before the first [section]')
    const at = line.indexOf('=')
    if (at === -1) throw bad('a line must be option=value')
    const key = trim(line.slice(0, at))
    if (key === '') throw bad('there is no option before the =')
    entries.push({ section, key, value: trim(line.slice(at + 1)), origin })
  }
  return entries
}

/**
 * Settings for this command from the sections `[stanza:command]`, `[stanza]`, `[global:command]` and `[global]`, the most specific
 * section first. An entry that has no effect is a warning, because existing files must keep working; an entry that could
 * change the meaning of the file (a repeated option, an empty value) is an error.
 */
export function iniSettings(
  entries: readonly IniEntry[],
  command: CommandName,
  stanza: string | undefined,
): { settings: Setting[]; warnings: string[] } {
  const settings = new Map<string, Setting>()
  const warnings: string[] = []
  const sections = [...(stanza === undefined ? [] : [stanza]), 'global'].flatMap((name) => [`${name}:${command}`, name])
  for (const section of sections) {
    const own = sectionSettings(section, entries, command, warnings)
    for (const [id, setting] of own) if (!settings.has(id)) settings.set(id, setting)
  }
  return { settings: [...settings.values()], warnings }
}

function sectionSettings(
  section: string,
  entries: readonly IniEntry[],
  command: CommandName,
  warnings: string[],
): Map<string, Setting> {
  const found = new Map<string, Setting>()
  const keys = new Map<string, string>()
  const isGlobal = section === 'global' || section.startsWith('global:')
  for (const { key, value, origin } of entries.filter((entry) => entry.section === section)) {
    const rules = {
      get shown() {
        return `${nameToShow(key)} (${origin})`
      },
      prefixes: false,
    }
    const written = parseOptionName(key, rules)
    if (written === undefined) {
      const close = nearestName(key)
      warnings.push(`${origin}: there is no option ${nameToShow(key)}${close ? `; did you mean ${close}?` : ''}`)
      continue
    }
    if (written.negated || written.reset) {
      warnings.push(`${origin}: ${key} is ignored, only the command line can negate and reset`)
      continue
    }
    const row = optionRow(written.option)
    if (row.section === 'command-line') {
      warnings.push(`${origin}: ${key} is ignored, it is only valid on the command line`)
      continue
    }
    const id = settingId(written.option, written.key)
    const spelling = keys.get(id)
    if (spelling !== undefined && spelling !== key) {
      throw new PgtsError('option-invalid', `${origin}: ${key} and ${spelling} in [${section}] are the same option`, {
        hints: [`keep ${id}`],
      })
    }
    keys.set(id, key)
    if (!row.commands.includes(command)) {
      if (section.includes(':')) warnings.push(`${origin}: ${key} is not valid in [${section}]`)
      continue
    }
    if (row.section === 'stanza' && isGlobal) {
      warnings.push(`${origin}: ${key} is ignored in [${section}], it is only valid in the section of a stanza`)
      continue
    }
    if (value === '') throw new PgtsError('option-invalid-value', `${origin}: ${key} has no value`)
    const before = found.get(id)
    if (before !== undefined && !isMulti(row)) {
      throw new PgtsError('option-invalid', `${origin}: ${key} is set twice in [${section}]`, {
        hints: [`the other one is ${before.origin}`],
      })
    }
    const typed = [...(before?.typed ?? []), value]
    found.set(id, { ...written, typed, source: 'file', origin: before?.origin ?? origin })
  }
  return found
}

/** Stanzas that have a section, sorted. */
export function iniStanzas(entries: readonly IniEntry[]): string[] {
  const names = entries.map(({ section }) => section.split(':')[0] ?? '').filter((name) => name !== 'global')
  return [...new Set(names)].sort()
}

/** True if the file contains a passphrase or key. */
export function iniHasSecret(entries: readonly IniEntry[]): boolean {
  return entries.some(({ key }) => {
    try {
      const written = parseOptionName(key, { shown: key, prefixes: false })
      return written !== undefined && optionRow(written.option).secret === true
    } catch {
      // An invalid name is reported when its section is read.
      return false
    }
  })
}
