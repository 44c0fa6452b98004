import { Command, Help, Option } from 'commander'
import { findCommand } from '../../config/argv.ts'
import { commandNames, commandRow, type CommandName } from '../../config/command-table.ts'
import { nearestName, parseOptionName, withIndex } from '../../config/option-name.ts'
import { groupOf, isNegatable, rowFor, type OptionName } from '../../config/option-table.ts'
import { dialectOf, resolveForHelp, type AnyResolved, type Dialect, type ResolveInput } from '../../config/resolve.ts'
import { allowedText, defaultText, shownOptions, typeHint } from '../../config/option-facts.ts'
import { textToShow, wordToShow } from '../../config/shown.ts'
import { helpExamples } from './help-examples.ts'
import { helpTopics, topicHelp } from './help-topics.ts'
import { isPgtsError, PgtsError } from '../../util/error.ts'
import { programName, type ProgramName } from '../../util/program-name.ts'

type EffectiveRow = NonNullable<ReturnType<typeof rowFor>>

const WIDTH = 80

/** `pgts help`, `pgts help COMMAND`, `pgts help COMMAND OPTION`, `pgts help TOPIC`: at most 80 columns, with the values in effect. */
export async function helpFor(parameters: readonly string[], input: ResolveInput): Promise<string> {
  const [commandWord, optionWord] = parameters
  if (commandWord === undefined) return generalHelp(programName(input.program))
  // Under the name pgbackrest help is what its clients parse.
  const topic = programName(input.program) === 'pgts' ? topicHelp(commandWord) : undefined
  if (topic !== undefined && optionWord === undefined) return topic
  const command = findCommand(commandWord)
  const current = await currentValues(command, input)
  if (optionWord === undefined) return commandHelp(command, current)
  return optionHelp(command, findOption(command, optionWord), current)
}

interface Current {
  readonly name: ProgramName
  readonly dialect: Dialect
  readonly resolved?: AnyResolved
  /** The reason if the values in effect could not be read. */
  readonly failure?: string
}

/** Help works without a valid configuration. */
async function currentValues(command: CommandName, input: ResolveInput): Promise<Current> {
  const name = programName(input.program)
  try {
    const resolved = await resolveForHelp(command, input)
    return { name, dialect: resolved.dialect, resolved }
  } catch (error) {
    if (!isPgtsError(error)) throw error
    return { name, dialect: dialectOf(name), failure: error.message }
  }
}

function generalHelp(name: ProgramName): string {
  const program = new Command(name)
    .usage('COMMAND [options]')
    .description('Back up and restore PostgreSQL, in the repository format of pgBackRest.')
    .helpCommand(false)
    .helpOption(false)
  for (const name of commandNames) {
    const row = commandRow(name)
    if (row.internal === true) continue
    program.command(name).summary(row.summary)
  }
  const text = format(program, (command) => command.name())
  const topics = name === 'pgts' ? `${wrap(`Topics: ${Object.keys(helpTopics).join(', ')}`)}\n` : ''
  const more = `More: ${name} help COMMAND, ${name} help COMMAND OPTION${name === 'pgts' ? ', pgts help TOPIC' : ''}\n`
  return `${text}\nA command may be shortened to a unique prefix.\n${topics}${more}`
}

function commandHelp(command: CommandName, current: Current): string {
  const row = commandRow(command)
  const program = new Command(current.name)
  const page = program.command(command).description(row.summary).helpOption(false)
  const parameters = row.parameters === undefined ? '' : ` ${row.parameters.usage}`
  page.usage(`[options]${parameters}`)
  for (const { name, row: view, topic } of shownOptions(command)) {
    const facts = valueFacts(name, command, current)
    const text = facts === '' ? view.summary : `${view.summary} [${facts}]`
    page.addOption(new Option(optionTerm(name, view, current.name), text).helpGroup(`${topic} options:`))
  }
  const text = format(page)
  const more = wrap(
    'Options of pgbackrest that pgts does not support yet are not listed; docs/reference/options.md has them all.',
  )
  const failure = current.failure === undefined ? '' : `\n${wrap(`Values in effect are unknown: ${current.failure}`)}\n`
  const examples = current.name === 'pgts' ? (helpExamples[command] ?? []) : []
  const shown = examples.length === 0 ? '' : `\nExamples:\n${examples.map((line) => `  ${line}\n`).join('')}`
  return `${text}${failure}${shown}\n${more}\nMore: ${current.name} help ${command} OPTION\n`
}

/** `--[no-]start-fast`, `--type=VALUE`; under the name pgbackrest the name alone, as its clients parse it. */
function optionTerm(name: OptionName, row: EffectiveRow, program: ProgramName): string {
  const written = withIndex(name, 1)
  if (program === 'pgbackrest') return `--${written}`
  return `--${isNegatable(row) ? '[no-]' : ''}${written}${row.type === 'bool' ? '' : '=VALUE'}`
}

function optionHelp(command: CommandName, option: OptionName, current: Current): string {
  const row = rowFor(option, command)
  if (row === undefined) throw new PgtsError('assert', `${option} is not valid for ${command}`)
  const dialect = current.dialect
  const name = withIndex(option, 1)
  const lines = [
    `--${isNegatable(row) ? '[no-]' : ''}${name}${typeHint(row)}`,
    '',
    wrap(row.summary),
    '',
    ...fact('default', defaultText(row, dialect)),
    ...(row.choices === undefined ? fact('allowed', allowedText(row)) : []),
    ...currentLines(option, current),
    ...fact('variable', row.secret === true || row.commands.length > 0 ? variable(name) : undefined),
    ...fact(
      'section',
      row.section === 'command-line' ? 'command line and environment only' : (row.section ?? 'global'),
    ),
    ...fact('old names', row.formerly?.map((old) => old.replace('?', '1')).join(', ')),
  ]
  if (row.choices !== undefined) lines.push('', choicesText(row.type, row.choices))
  if (row.secret === true)
    lines.push(
      '',
      wrap(
        row.section === 'command-line'
          ? 'A secret: other users of this host see it while the command runs.'
          : 'A secret: set it in the configuration file or in the environment, never on the command line.',
      ),
    )
  return `${lines.join('\n')}\n`
}

/** The form that the bash completion of pgbackrest parses: sizes from a sentence, other choices from a list. */
function choicesText(type: string, choices: readonly string[]): string {
  if (type !== 'size') return ['allowed:', ...choices.map((choice) => `* ${choice}`)].join('\n')
  return wrap(`Allowed values are ${choices.slice(0, -1).join(', ')}, and ${choices.at(-1) ?? ''}.`)
}

function findOption(command: CommandName, word: string): OptionName {
  const plain = word.replace(/^--/, '')
  const grouped = /^(repo|pg)-/.test(plain) ? plain.replace('-', '1-') : plain
  const written =
    parseOptionName(grouped, { shown: wordToShow(word), prefixes: true }) ??
    parseOptionName(plain, { shown: wordToShow(word), prefixes: true })
  if (written === undefined) {
    const close = nearestName(plain)
    throw new PgtsError('option-invalid', `there is no option ${wordToShow(word)}`, {
      hints: close === undefined ? [`pgts help ${command} lists the options`] : [`did you mean ${close}?`],
    })
  }
  if (rowFor(written.option, command) === undefined) {
    throw new PgtsError('option-invalid', `option ${written.option} is not valid for command ${command}`, {
      hints: [`pgts help ${command} lists the options`],
    })
  }
  return written.option
}

/** `default: 1, now: 4`. */
function valueFacts(option: OptionName, command: CommandName, current: Current): string {
  const row = rowFor(option, command)
  if (row === undefined) return ''
  const fallback = defaultText(row, current.dialect)
  const now = currentTexts(option, current).map(({ key, text }) =>
    key > 1 ? `${withIndex(option, key)}: ${text}` : `now: ${text}`,
  )
  return [...(fallback === undefined ? [] : [`default: ${fallback}`]), ...now].join(', ')
}

function currentLines(option: OptionName, current: Current): string[] {
  return currentTexts(option, current).flatMap(({ key, text, origin }) =>
    fact(groupOf(option) === undefined ? 'now' : `now (${key})`, `${text} (from ${origin})`),
  )
}

function currentTexts(option: OptionName, current: Current): { key: number; text: string; origin: string }[] {
  const values = [...(current.resolved?.values.values() ?? [])]
  return values
    .filter((value) => value.option === option && value.source !== 'default' && !value.reset)
    .map(({ key, typed, negated, origin }) => {
      const text = negated ? 'n' : typed.map((one) => textToShow(option, one)).join(', ')
      return { key, text, origin }
    })
}

function fact(name: string, text: string | undefined): string[] {
  if (text === undefined || text === '') return []
  return [wrap(`${`${name}:`.padEnd(11)} ${text}`, 12)]
}

function variable(name: string): string {
  return `PGTS_${name.toUpperCase().replaceAll('-', '_')}`
}

function format(command: Command, subcommandTerm?: (command: Command) => string): string {
  const help = new Help()
  help.helpWidth = WIDTH
  // The names of options take up to half of a line.
  help.minWidthToWrap = 20
  help.showGlobalOptions = false
  if (subcommandTerm !== undefined) help.subcommandTerm = subcommandTerm
  help.optionTerm = (option) => option.flags
  return help.formatHelp(command, help)
}

/** Break at spaces; lines after the first are indented. Text without spaces is not broken. */
function wrap(text: string, indent = 0): string {
  const lines: string[] = ['']
  for (const word of text.split(' ')) {
    const line = lines.at(-1) ?? ''
    if (line.trim() !== '' && line.length + 1 + word.length > WIDTH) lines.push(' '.repeat(indent) + word)
    else lines[lines.length - 1] = line === '' ? word : `${line} ${word}`
  }
  return lines.join('\n')
}
