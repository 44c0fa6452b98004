import { reportsPage } from './reports.ts'
import { doctorPage } from './doctor.ts'
import { compatibilityPage } from './compatibility.ts'
import { commandNames, commandRow } from '../../src/config/command-table.ts'
import { allowedText, defaultText } from '../../src/config/option-facts.ts'
import { withIndex } from '../../src/config/option-name.ts'
import { isNegatable, optionNames, optionRow, rowFor, type OptionName } from '../../src/config/option-table.ts'
import type { SupportColumn } from '../../src/config/option-row.ts'
import { LIBPQ_OTHER_VARIABLES, LIBPQ_PARAMETERS } from '../../src/postgres/libpq/parameters.ts'
import { EXIT_CODES, type ErrorCode } from '../../src/util/error.ts'
import { EXIT_CODE_MEANINGS } from './exit-code-meanings.ts'

/** The reference pages, by name below docs/reference. Generated from the tables. */
export function referencePages(): Record<string, string> {
  return {
    'commands.md': commandsPage(),
    'options.md': optionsPage(),
    'exit-codes.md': exitCodesPage(),
    'connection.md': connectionPage(),
    'compatibility.md': compatibilityPage(),
    'reports.md': reportsPage(),
    'doctor.md': doctorPage(),
  }
}

const NOTE = '<!-- Generated from the tables in src/: npm run reference -->'

function commandsPage(): string {
  const rows = commandNames.map((name) => {
    const row = commandRow(name)
    const usage = row.parameters === undefined ? '' : ` ${row.parameters.usage}`
    return [
      `\`${name}${usage}\``,
      row.summary + (row.internal === true ? ' For maintainers.' : ''),
      row.stanza,
      row.locks?.join(', ') ?? '',
      row.logFile === true ? 'yes' : 'only with `--log-level-file` on the command line',
      row.stops === true ? 'yes' : '',
    ]
  })
  return page(
    'Commands',
    'A command may be shortened to a unique prefix. `pgts help COMMAND` lists its options.',
    table(['Command', 'What it does', '`--stanza`', 'Locks', 'Log file', 'Refused with a stop file'], rows),
  )
}

function optionsPage(): string {
  const sections = optionNames.map((name) => `## ${name}\n\n${optionText(name)}`)
  return page(
    'Options',
    'An option is written `--repo1-path=/backup` on the command line, `PGTS_REPO1_PATH` (or `PGBACKREST_REPO1_PATH`) in ' +
      'the environment, `repo1-path=/backup` in a pgbackrest.conf and `repo: [{ path: /backup }]` in YAML. The command line ' +
      'counts most, then the environment, then the sections of the file: stanza and command, stanza, global and command, ' +
      'global. Options of `repo` and `pg` carry a number from 1 to 256; 1 stands for any here.',
    ...sections,
  )
}

function optionText(name: OptionName): string {
  const row = optionRow(name)
  const facts = [
    `written \`--${isNegatable(row) ? '[no-]' : ''}${withIndex(name, 1)}\`, ${row.type}`,
    allowed(name),
    defaults(name),
    row.depend === undefined ? undefined : `is only valid with ${dependency(row.depend)}`,
    row.section === 'command-line'
      ? 'command line and environment only'
      : row.section === 'stanza'
        ? 'in a file: only in the section of a stanza'
        : undefined,
    row.secret !== true
      ? undefined
      : `secret: ${row.section === 'command-line' ? '' : 'file and environment only, '}shown as \`<redacted>\``,
    row.internal === true ? 'for maintainers' : undefined,
    row.formerly === undefined
      ? undefined
      : `also known as ${row.formerly.map((old) => `\`${old.replace('?', 'N')}\``).join(', ')}`,
    support(row.support),
    ...Object.entries(row.for ?? {}).flatMap(([command, override]) => {
      const text = support(override.support)
      return text === undefined ? [] : [`${command}: ${text}`]
    }),
    row.commands.length === 0 ? 'no command' : `commands: ${row.commands.join(', ')}`,
  ]
  return `${row.summary}\n\n${facts.flatMap((fact) => (fact === undefined ? [] : [`- ${fact}`])).join('\n')}`
}

function allowed(name: OptionName): string | undefined {
  return perCommand(name, 'allowed', (command) => {
    const row = rowFor(name, command)
    return row === undefined || row.type === 'bool' ? undefined : allowedText(row)
  })
}

function defaults(name: OptionName): string | undefined {
  return perCommand(name, 'default', (command) => {
    const row = rowFor(name, command)
    if (row === undefined) return undefined
    const [yaml, ini] = [defaultText(row, 'yaml'), defaultText(row, 'ini')]
    return yaml === ini ? yaml : `${yaml}, with a pgbackrest.conf ${ini}`
  })
}

/** One text if it is the same for all commands, else one for each command that differs. */
function perCommand(
  name: OptionName,
  what: string,
  textFor: (command: (typeof commandNames)[number]) => string | undefined,
): string | undefined {
  const texts = new Map<string, string[]>()
  for (const command of optionRow(name).commands) {
    const text = textFor(command)
    if (text !== undefined) texts.set(text, [...(texts.get(text) ?? []), command])
  }
  const [only] = texts.keys()
  if (only === undefined) return undefined
  if (texts.size === 1) return `${what}: ${only}`
  return `${what}: ${[...texts].map(([text, commands]) => `${text} (${commands.join(', ')})`).join('; ')}`
}

function dependency(depend: { option: string; values?: readonly (string | number)[] }): string {
  const name = `\`${depend.option}\``
  return depend.values === undefined ? `${name} set` : `${name} = ${depend.values.join(', ')}`
}

function support(column: SupportColumn | undefined): string | undefined {
  const words = {
    acts: undefined,
    warn: 'pgts does not support it yet and ignores it with a warning',
    refuse: 'pgts does not support it yet and refuses it',
  }
  if (column === undefined) return undefined
  if (typeof column === 'string') return words[column]
  return Object.entries(column)
    .map(([value, one]) => `\`${value}\`: ${words[one] ?? 'acted on'}`)
    .join('; ')
}

function exitCodesPage(): string {
  const rows = Object.entries(EXIT_CODES).map(([code, number]) => [
    String(number),
    code,
    EXIT_CODE_MEANINGS[code as ErrorCode],
  ])
  return page(
    'Exit codes',
    'The numbers are those of pgBackRest, so that scripts and monitoring keep working. 0 is success; 1 means that ' +
      '`archive-get` did not find the segment.',
    table(['Code', 'Name', 'Meaning'], rows),
    '`archive-push` and `archive-get` end with 125 when Node could not be started or ended without an answer from pgts. For ' +
      '`archive-get` in archive recovery that code is 201: PostgreSQL stops with FATAL. Other commands then end with the code ' +
      'of the shell or of Node.',
  )
}

function connectionPage(): string {
  const use = {
    used: 'as in libpq',
    option: 'not read; decided by',
    'no effect': 'no effect:',
    refused: 'refused if it requires a feature that pgts does not have:',
  }
  const rows = LIBPQ_PARAMETERS.map((row) => [
    row.variable === undefined ? '' : `\`${row.variable}\``,
    `\`${row.keyword}\``,
    `${use[row.use]}${row.use === 'used' ? ': ' : ' '}${row.note}`,
  ])
  const others = Object.entries(LIBPQ_OTHER_VARIABLES).map(([name, why]) => [`\`${name}\``, '', why])
  return page(
    'Connection',
    'pgts connects to a server on its own host through the Unix-domain socket. `pg1-socket-path` names its directory; ' +
      'without it, `postmaster.pid` of `pg1-path` does. Role, password and session settings come from the options of pgts, ' +
      'then from the service that `PGSERVICE` names, then from the environment, as in libpq:',
    table(['Variable', 'Parameter of a service', 'What pgts does'], [...rows, ...others]),
    'A password comes from `PGPASSWORD` or the service, else from the first matching line of the password file. The host of ' +
      'that line is the directory of the socket, or `localhost` where no directory is configured or it is the usual one ' +
      '(`/var/run/postgresql`, `/tmp`). A password file that others may read is ignored, and the error says so.',
  )
}

function page(title: string, ...parts: readonly string[]): string {
  return `${[`# ${title}`, NOTE, ...parts].join('\n\n')}\n`
}

function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]) => `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`
  return [line(head), line(head.map(() => '---')), ...rows.map(line)].join('\n')
}
