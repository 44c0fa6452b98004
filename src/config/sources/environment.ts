import { PgtsError } from '../../util/error.ts'
import type { CommandName } from '../command-table.ts'
import { nearestName, parseOptionName } from '../option-name.ts'
import { isMulti, optionRow } from '../option-table.ts'
import { settingId, type Setting } from '../setting.ts'

/** pgts's own variables win over those of an existing pgBackRest set-up. */
const PREFIXES = ['PGTS_', 'PGBACKREST_'] as const

/** Variables of the launcher and of the tests that are no options. */
const NOT_OPTIONS = /^PGTS_(NODE$|PROGRAM$|TEST_)/

/**
 * `PGTS_REPO1_PATH` and `PGBACKREST_REPO1_PATH`; lists and hashes are split at `:`. What the command does not use is
 * passed over. A name that sets no option is a warning, a value that is empty an error.
 */
export function environmentSettings(
  env: Readonly<Record<string, string | undefined>>,
  command: CommandName,
): { settings: Setting[]; warnings: string[] } {
  const settings = new Map<string, Setting>()
  const warnings: string[] = []
  for (const prefix of PREFIXES) {
    const names = Object.keys(env).filter((name) => name.startsWith(prefix) && !NOT_OPTIONS.test(name))
    for (const variable of names.sort()) {
      const text = env[variable]
      if (text === undefined) continue
      const name = variable.slice(prefix.length).toLowerCase().replaceAll('_', '-')
      const written = parseOptionName(name, { shown: variable, prefixes: false })
      if (written === undefined) {
        const close = nearestName(name)
        warnings.push(
          `environment variable ${variable} sets no option${close ? `; did you mean ${shout(prefix, close)}?` : ''}`,
        )
        continue
      }
      if (written.negated || written.reset) {
        warnings.push(`environment variable ${variable} is ignored: only the command line can negate and reset`)
        continue
      }
      const row = optionRow(written.option)
      if (!row.commands.includes(command)) continue
      if (text === '') throw new PgtsError('option-invalid-value', `environment variable ${variable} is empty`)
      const id = settingId(written.option, written.key)
      if (settings.has(id)) continue
      settings.set(id, {
        ...written,
        typed: isMulti(row) ? text.split(':') : [text],
        source: 'environment',
        origin: variable,
      })
    }
  }
  return { settings: [...settings.values()], warnings }
}

function shout(prefix: string, name: string): string {
  return prefix + name.toUpperCase().replaceAll('-', '_')
}
