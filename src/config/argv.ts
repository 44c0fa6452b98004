import { PgtsError } from '../util/error.ts'
import { COMMAND_ROLES, parametersOf, type CommandRole } from './command-roles.ts'
import { commandNames, commandRow, type CommandName } from './command-table.ts'
import { nearest } from '../util/nearest.ts'
import { listed, nearestName, parseOptionName, type WrittenName } from './option-name.ts'
import { isBoolean, isMulti, optionRow } from './option-table.ts'
import type { Setting } from './setting.ts'
import { nameToShow, wordToShow } from './shown.ts'

/** A parsed command line. */
export interface CommandLine {
  readonly command: CommandName
  readonly role?: CommandRole
  readonly parameters: readonly string[]
  readonly settings: readonly Setting[]
  /** Indexes of the parameters in argv, for launch hints; from `parseCommandLine` only. */
  readonly parametersAt?: readonly number[]
}

const ORIGIN = 'command line'

/** Short options of the programs of PostgreSQL. pgbackrest refuses every word that begins with one dash. */
const SHORT_OPTIONS: ReadonlyMap<string, string> = new Map([
  ['-h', '--help'],
  ['-V', '--version'],
])

/**
 * pgBackRest's command line: `--name=value`, `--name value`, bare booleans, `--no-name`, `--reset-name`, unique prefixes
 * of names, `-h` and `-V`, options before and after the command. The first bare word is the command, the others are its
 * parameters. Without a library, because PostgreSQL calls archive-push and archive-get for every segment; cli/parse-arguments
 * parses other command lines by the same grammar.
 */
export function parseCommandLine(argv: readonly string[]): CommandLine {
  const words: string[] = []
  const wordsAt: number[] = []
  const reader = new ArgumentReader()
  for (let i = 0; i < argv.length; i++) {
    const word = argv[i] ?? ''
    if (word === '--') {
      words.push(...argv.slice(i + 1))
      for (i++; i < argv.length; i++) wordsAt.push(i)
    } else if (isOptionWord(word)) {
      reader.option(word, () => argv[++i])
    } else {
      words.push(word)
      wordsAt.push(i)
    }
  }
  return { ...reader.commandLine(words), parametersAt: wordsAt.slice(1) }
}

/** Unless `--` is before it. */
export function isOptionWord(word: string): boolean {
  return word.startsWith('-') && word !== '-' && word !== '--'
}

/** True if the next word is the value of this option word. False for a word that `ArgumentReader.option` refuses. */
export function takesNextWord(word: string): boolean {
  if (SHORT_OPTIONS.has(word) || !word.startsWith('--') || word.includes('=')) return false
  const name = word.slice(2)
  try {
    const written = parseOptionName(name, { shown: '', prefixes: true })
    return written !== undefined && implied(written) === undefined
  } catch {
    return false
  }
}

/** The grammar: receives the words of a command line in order. Each parser decides only which word belongs to which. */
export class ArgumentReader {
  readonly #settings = new Map<string, Setting>()
  #help = false
  #version = false
  #sawOption = false

  /**
   * @param next the word after it, undefined at the end; called if this option needs a value and has none
   * @throws PgtsError option-invalid, option-invalid-value
   */
  option(word: string, next: () => string | undefined): void {
    this.#sawOption = true
    const { name, value } = splitOption(SHORT_OPTIONS.get(word) ?? word)
    if (name === 'help' || name === 'version') {
      if (value !== undefined) throw noValue(name)
      if (name === 'help') this.#help = true
      else this.#version = true
      return
    }
    const rules = {
      // Only for a message: it compiles a large expression.
      get shown() {
        return `--${nameToShow(name)}`
      },
      prefixes: true,
    }
    const written = parseOptionName(name, rules) ?? unknownOption(name)
    const fromName = implied(written)
    const typed = value ?? fromName ?? next()
    if (value !== undefined && (written.negated || written.reset)) throw noValue(name)
    if (typed === undefined || (value === undefined && fromName === undefined && typed.startsWith('--'))) {
      throw new PgtsError('option-invalid', `--${nameToShow(name)} needs a value`, {
        hints: [`write --${nameToShow(name)}=VALUE`],
      })
    }
    addSetting(this.#settings, written, typed, name)
  }

  /**
   * @param words all words that are neither options nor their values: command and parameters
   * @throws PgtsError command-invalid, command-required, option-invalid, param-invalid, param-required
   */
  commandLine(words: readonly string[]): CommandLine {
    const chosen = chooseCommand(words, { help: this.#help, version: this.#version, sawOption: this.#sawOption })
    return { ...chosen, settings: [...this.#settings.values()] }
  }
}

/** The command by its name or a unique prefix; else [048]. Internal commands have no short form. */
export function findCommand(typed: string): CommandName {
  const exact = commandNames.find((name) => name === typed)
  if (exact !== undefined) return exact
  const [base, role] = typed.split(':')
  if (role !== undefined && commandNames.some((name) => name === base)) {
    throw new PgtsError(
      'command-invalid',
      `${wordToShow(typed)} is not a command: ${wordToShow(base ?? '')} has no such part`,
      {
        hints: [`write ${base}`],
      },
    )
  }
  const visible = commandNames.filter((name) => commandRow(name).internal !== true)
  const hits = typed === '' ? [] : visible.filter((name) => name.startsWith(typed))
  if (hits.length === 1 && hits[0] !== undefined) return hits[0]
  if (hits.length > 1) {
    throw new PgtsError('command-invalid', `${typed} is ambiguous: ${listed(hits, 12)}`, {
      hints: ['write the full name of the command'],
    })
  }
  const close = nearest(typed, visible)
  throw new PgtsError(
    'command-invalid',
    typed === '' ? 'the command is empty' : `there is no command ${wordToShow(typed)}`,
    {
      hints: [
        ...(close === undefined ? [] : [`did you mean ${close}?`]),
        `commands are ${visible.join(', ')}`,
        'pgts help explains them',
      ],
    },
  )
}

function chooseCommand(
  words: readonly string[],
  flags: { help: boolean; version: boolean; sawOption: boolean },
): Omit<CommandLine, 'settings'> {
  const [first, ...rest] = words
  if (first === undefined) {
    if (flags.help || !flags.sawOption) return { command: 'help', parameters: [] }
    if (flags.version) return { command: 'version', parameters: [] }
    throw new PgtsError('command-required', 'there are options but no command', {
      hints: ['pgts help lists the commands'],
    })
  }
  const background = findRole(first)
  const command = background?.command ?? findCommand(first)
  if (flags.help) return { command: 'help', parameters: command === 'help' ? rest : [command] }
  if (flags.version) {
    throw new PgtsError('option-invalid', `option --version is not valid for command ${command}`, {
      hints: ['write pgts version'],
    })
  }
  checkParameters(command, rest, background?.role)
  return { command, ...background, parameters: rest }
}

function findRole(word: string): { readonly command: CommandName; readonly role: CommandRole } | undefined {
  const [name, suffix] = word.split(':')
  const command = commandNames.find((known) => known === name)
  const role = COMMAND_ROLES.find((known) => known === suffix)
  if (command === undefined || role === undefined || parametersOf(command, role) === undefined) return undefined
  return word === `${command}:${role}` ? { command, role } : undefined
}

function checkParameters(command: CommandName, parameters: readonly string[], role: CommandRole | undefined): void {
  const rule = parametersOf(command, role)
  if (rule === undefined) return
  if (parameters.length > rule.max) {
    const extra = parameters[rule.max]
    const code = rule.tooManyIsRequired === true ? 'param-required' : 'param-invalid'
    throw new PgtsError(code, `invalid parameter '${wordToShow(extra ?? '')}' for command ${command}`, {
      hints: [rule.max === 0 ? `${command} takes options only` : `usage: pgts ${command} ${rule.usage}`],
    })
  }
  if (parameters.length < rule.min) {
    throw new PgtsError('param-required', `${command} needs ${rule.usage}`, {
      hints: [`usage: pgts ${command} ${rule.usage}`],
    })
  }
}

function splitOption(arg: string): { name: string; value: string | undefined } {
  if (!arg.startsWith('--')) throw singleDash(arg)
  const at = arg.indexOf('=')
  return at === -1 ? { name: arg.slice(2), value: undefined } : { name: arg.slice(2, at), value: arg.slice(at + 1) }
}

/** The value of a bare name: `y` for a boolean, `n` for a negation, '' for a reset. undefined: a value must follow. */
function implied(written: WrittenName): string | undefined {
  if (written.negated) return 'n'
  if (written.reset) return ''
  return isBoolean(optionRow(written.option)) ? 'y' : undefined
}

function addSetting(settings: Map<string, Setting>, written: WrittenName, typed: string, name: string): void {
  const row = optionRow(written.option)
  if (typed === '' && !written.reset) {
    throw new PgtsError('option-invalid-value', `--${name} has an empty value`)
  }
  if (row.secret === true && row.section !== 'command-line' && !written.reset) throw secretGiven(name, written)
  const id = `${written.option} ${written.key}`
  const before = settings.get(id)
  if (before !== undefined && !(isMulti(row) && !written.reset && !before.reset)) {
    const twice = before.reset === written.reset && before.negated === written.negated
    throw new PgtsError(
      'option-invalid',
      twice ? `--${name} is given twice` : `--${name} contradicts another form of the same option`,
      { hints: ['give it once'] },
    )
  }
  const { option, key, negated, reset } = written
  const dropped = reset || (negated && !isBoolean(row))
  settings.set(id, {
    option,
    key,
    typed: dropped ? [] : [...(before?.typed ?? []), typed],
    negated,
    reset,
    source: 'command line',
    origin: ORIGIN,
  })
}

function secretGiven(name: string, written: WrittenName): PgtsError {
  const variable = `PGTS_${name.toUpperCase().replaceAll('-', '_')}`
  return new PgtsError('option-invalid', `--${name} must not be on the command line, which other users can read`, {
    hints: [`put ${written.option} into the configuration file, or into the environment as ${variable}`],
  })
}

function unknownOption(name: string): never {
  const close = nearestName(name)
  throw new PgtsError('option-invalid', `there is no option --${nameToShow(name)}`, {
    hints: [close === undefined ? 'pgts help COMMAND lists the options' : `did you mean --${close}?`],
  })
}

function singleDash(arg: string): PgtsError {
  const shown = wordToShow(arg)
  return new PgtsError('option-invalid', `${shown} begins with a single dash`, {
    hints: [`options begin with --, for example -${shown}`],
  })
}

function noValue(name: string): PgtsError {
  return new PgtsError('option-invalid', `--${name} takes no value`, { hints: [`write --${name}`] })
}
