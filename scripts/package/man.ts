import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { completionScript } from '../../src/cli/completion/script.ts'
import { helpExamples } from '../../src/cli/render/help-examples.ts'
import { helpTopics } from '../../src/cli/render/help-topics.ts'
import { commandNames, commandRow, type CommandName } from '../../src/config/command-table.ts'
import { allowedText, defaultText, shownOptions, TOPICS, type ShownOption } from '../../src/config/option-facts.ts'
import { withIndex } from '../../src/config/option-name.ts'
import { isBoolean, isNegatable, optionRow, type OptionName } from '../../src/config/option-table.ts'
import { EXIT_CODES, type ErrorCode } from '../../src/util/error.ts'
import { EXIT_CODE_MEANINGS } from '../reference/exit-code-meanings.ts'
import { bold, examples, item, page, paragraph, section, subsection, text } from './roff.ts'

/** Below share/: manual pages and completions, from the tables of commands and options. */
export function writeShare(directory: string, version: string): void {
  const man = join(directory, 'man/man1')
  mkdirSync(man, { recursive: true })
  for (const [name, source] of manPages(version)) writeFileSync(join(man, name), source)
  for (const [shell, path] of Object.entries(COMPLETIONS)) {
    const file = join(directory, path)
    mkdirSync(join(file, '..'), { recursive: true })
    writeFileSync(file, completionScript(shell))
  }
}

/** Where the shells of Debian look for completions of packages, below /usr/share. */
export const COMPLETIONS = {
  bash: 'bash-completion/completions/pgts',
  zsh: 'zsh/vendor-completions/_pgts',
  fish: 'fish/vendor_completions.d/pgts.fish',
} as const

/** The commands with a page of their own. */
export const documentedCommands = commandNames.filter((name) => commandRow(name).internal !== true)

/** File name and source of each page. */
export function manPages(version: string): Map<string, string> {
  const pages = documentedCommands.map((name) => [`pgts-${name}.1`, commandPage(name, version)] as const)
  return new Map([['pgts.1', overview(version)], ...pages])
}

const SUMMARY = 'back up and restore PostgreSQL, in the repository format of pgBackRest'

function overview(version: string): string {
  return page('pgts', version, [
    section('NAME', `pgts \\- ${text(SUMMARY)}\n`),
    section('SYNOPSIS', `${bold('pgts')} [\\fIoptions\\fR] \\fICOMMAND\\fR [\\fIparameters\\fR]\n`),
    section(
      'DESCRIPTION',
      paragraph('Options may be written before and after the command. A command may be shortened to a unique prefix.') +
        paragraph(
          'The value of an option comes from the command line, else from the environment, else from the configuration ' +
            'file, where the sections count in this order: stanza and command, stanza, global and command, global. ' +
            'Options of repo and pg carry a number: --repo1-path, --repo2-path.',
        ) +
        paragraph('Under the name pgbackrest the program has the configuration, defaults and texts of pgbackrest.'),
    ),
    section(
      'COMMANDS',
      documentedCommands.map((name) => item(bold(`pgts-${name}`) + '(1)', commandRow(name).summary)).join(''),
    ),
    section(
      'SITUATIONS',
      Object.entries(helpTopics)
        .map(([name, { title }]) => item(bold(`pgts help ${name}`), title))
        .join(''),
    ),
    section('EXIT STATUS', item('0', 'success') + NOT_FOUND + Object.keys(EXIT_CODES).map(exitItem).join('')),
    section('FILES', PATHS.map(pathItem).join('')),
    section('ENVIRONMENT', ENVIRONMENT.map(([name, meaning]) => item(bold(name), meaning)).join('')),
    section('SEE ALSO', `${documentedCommands.map((name) => `${bold(`pgts-${name}`)}(1)`).join(',\n')}\n`),
  ])
}

const NOT_FOUND = item('1', 'archive-get did not find the segment, or repo-get the file')

function exitItem(name: string): string {
  const code = name as ErrorCode
  return item(String(EXIT_CODES[code]), `${name}: ${EXIT_CODE_MEANINGS[code]}`)
}

/** Options whose defaults are the files and directories of an installation. */
const PATHS: readonly OptionName[] = [
  'config',
  'config-include-path',
  'repo-path',
  'log-path',
  'spool-path',
  'lock-path',
]

function pathItem(option: OptionName): string {
  const row = optionRow(option)
  return item(`\\fI${text(defaultText(row, 'yaml') ?? '')}\\fR`, `${row.summary} Option --${withIndex(option, 1)}.`)
}

const ENVIRONMENT = [
  ['PGTS_OPTION', 'An option of any command: PGTS_REPO1_PATH is --repo1-path. PGBACKREST_OPTION is read, too.'],
  ['PGTS_NODE', 'The Node.js that runs the program; default: node beside the program, then node in the PATH.'],
  [
    'PGUSER, PGPASSFILE, ...',
    'Variables of libpq for connections to the server; docs/reference/connection.md has all.',
  ],
] as const

function commandPage(command: CommandName, version: string): string {
  const row = commandRow(command)
  const parameters = row.parameters === undefined ? '' : ` \\fI${text(row.parameters.usage)}\\fR`
  const lines = helpExamples[command] ?? []
  return page(`pgts-${command}`, version, [
    section('NAME', `pgts-${text(command)} \\- ${text(lowered(row.summary))}\n`),
    section('SYNOPSIS', `${bold(`pgts ${command}`)} [\\fIoptions\\fR]${parameters}\n`),
    section('DESCRIPTION', paragraph(row.summary) + notes(command)),
    section('OPTIONS', optionItems(command)),
    ...(lines.length === 0 ? [] : [section('EXAMPLES', examples(lines))]),
    section('EXIT STATUS', paragraph('0 is success. The other codes are listed in pgts(1).')),
    section('SEE ALSO', `${bold('pgts')}(1)\n`),
  ])
}

/** What the table says about a run besides its options. */
function notes(command: CommandName): string {
  const row = commandRow(command)
  return [
    row.locks === undefined ? '' : paragraph(`It locks ${row.locks.join(', ')} of the stanza while it runs.`),
    row.stops === true ? paragraph('It is refused while the stanza is stopped (pgts stop).') : '',
    row.logFile === true ? paragraph(`Its log file is STANZA-${command}.log below --log-path.`) : '',
  ].join('')
}

function optionItems(command: CommandName): string {
  const shown = shownOptions(command)
  const parts = TOPICS.map((topic) => {
    const items = shown.filter((option) => option.topic === topic).map(optionItem)
    return items.length === 0 ? '' : subsection(`${topic} options`) + items.join('')
  })
  return parts.join('') + paragraph(`pgts help ${command} shows the values in effect.`)
}

function optionItem({ name, row }: ShownOption): string {
  const value = row.type === 'bool' ? '' : isBoolean(row) ? '[=\\fIVALUE\\fR]' : '=\\fIVALUE\\fR'
  const term = `${bold(`--${isNegatable(row) ? '[no-]' : ''}${withIndex(name, 1)}`)}${value}`
  const facts = [
    ['Default', defaultText(row, 'yaml')],
    ['Allowed', row.type === 'bool' ? undefined : allowedText(row)],
    ['Secret', row.secret === true && row.section !== 'command-line' ? 'file and environment only' : undefined],
  ].flatMap(([label, fact]) => (fact === undefined || fact === '' ? [] : [`${label}: ${fact}.`]))
  return item(term, [row.summary, ...facts].join(' '))
}

/** A summary in a NAME line: without the full stop, in lower case unless it begins with a name. */
function lowered(summary: string): string {
  return `${summary.slice(0, 1).toLowerCase()}${summary.slice(1)}`.replace(/\.$/, '')
}
