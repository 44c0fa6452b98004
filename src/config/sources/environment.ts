import { PgtsError } from '../../util/error.ts'
import type { CommandName } from '../command-table.ts'
import { nearestName, parseOptionName } from '../option-name.ts'
import { isMulti, optionRow } from '../option-table.ts'
import { settingId, type Setting } from '../setting.ts'

/** Variables of pgts take precedence over those of pgBackRest. */
const PREFIXES = ['PGTS_', 'PGBACKREST_'] as const

/** Variables of the launcher and of tests, which are not options. */
const NOT_OPTIONS = /^PGTS_(NODE$|TEST_)/

/**
 * Kubernetes sets variables in every container for each service of the namespace: X_SERVICE_HOST, X_SERVICE_PORT,
 * X_SERVICE_PORT_NAME, X_PORT (a URL, never a number) and X_PORT_8432_TCP, where X may be PGBACKREST or begin with it.
 * Those of a service `pgbackrest-pg1` have the name of an option, and some names are longer than an option's may be.
 * @see https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables
 */
function isServiceVariable(variable: string, value: string): boolean {
  if (/_(?:SERVICE_(?:HOST|PORT)|PORT_\d+_(?:TCP|UDP|SCTP))(?:_|$)/.test(variable)) return true
  return variable.endsWith('_PORT') && /^(?:tcp|udp|sctp):\/\//.test(value)
}
const SERVICE_WORDS = /_(?:SERVICE|PORT)(?:_|$)/

/**
 * `PGTS_REPO1_PATH` and `PGBACKREST_REPO1_PATH`; lists and hashes are split at `:`. Options that are not valid for
 * the command are skipped. An unknown name is a warning, an empty value an error.
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
      if (isServiceVariable(variable, text)) continue
      const name = variable.slice(prefix.length).toLowerCase().replaceAll('_', '-')
      const written = parseOptionName(name, { shown: variable, prefixes: false })
      if (written === undefined) {
        if (SERVICE_WORDS.test(variable)) continue
        const close = nearestName(name)
        warnings.push(
          `environment variable ${variable} sets no option${close ? `; did you mean ${toVariable(prefix, close)}?` : ''}`,
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

function toVariable(prefix: string, name: string): string {
  return prefix + name.toUpperCase().replaceAll('-', '_')
}
