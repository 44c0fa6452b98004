import { availableParallelism } from 'node:os'
import { PgtsError } from '../util/error.ts'
import { loadModule } from '../util/load-module.ts'
import { programName } from '../util/program-name.ts'
import { parseCommandLine, type CommandLine } from './argv.ts'
import type { CommandRole } from './command-roles.ts'
import { commandRow, type CommandName } from './command-table.ts'
import { Evaluation, type ResolvedValue } from './evaluate.ts'
import { listed, withIndex } from './option-name.ts'
import { groupOf, optionRow } from './option-table.ts'
import { checkClusterHost, checkSupport, checkTogether } from './post-check.ts'
import { describe, settingId, type Setting } from './setting.ts'
import { environmentSettings } from './sources/environment.ts'
import {
  dialectOf,
  locateConfig,
  systemFiles,
  type ConfigFiles,
  type Dialect,
  type LocatedConfig,
} from './sources/files.ts'
import { iniHasSecret, iniSettings, iniStanzas, parseIni } from './sources/ini.ts'
import { camel, type OptionsOf } from './typed-options.ts'

export type { CommandRole } from './command-roles.ts'
export type { CommandName } from './command-table.ts'
export type { ResolvedValue } from './evaluate.ts'
export { dialectOf, type ConfigFiles, type Dialect } from './sources/files.ts'
export type { OptionsOf, PgOptions, RepoOptions } from './typed-options.ts'

export interface ResolveInput {
  /** What follows `pgts` on the command line. */
  readonly argv: readonly string[]
  /** Default: `parseCommandLine`. */
  readonly parse?: (argv: readonly string[]) => CommandLine
  readonly env: Readonly<Record<string, string | undefined>>
  /** Absolute path of the program: its name decides which configuration and defaults are used, and it is the default of `cmd`. */
  readonly program: string
  /** 0 is refused without allow-root; undefined if the system has no user ids. */
  readonly uid?: number
  /** What process-max=auto means. Default: cores of this machine. */
  readonly cores?: number
  readonly files?: ConfigFiles
}

export interface Resolved<C extends CommandName = CommandName> {
  readonly command: C
  readonly role?: CommandRole
  readonly options: OptionsOf<C>
  readonly parameters: readonly string[]
  readonly dialect: Dialect
  /** The files that were read, in order. */
  readonly configFiles: readonly string[]
  /** Every configuration file and directory that was looked for, found or not. */
  readonly configLooked: readonly string[]
  /** The command line as it was given, with undefined in place of parameters. */
  readonly callPattern: readonly (string | undefined)[]
  /** Logged when the logger is open. */
  readonly warnings: readonly string[]
  /** Configuration files with secrets that other users can access; each has a warning, too. */
  readonly exposed: readonly string[]
  /** Stanzas with a section of their own in the configuration, sorted. */
  readonly stanzas: readonly string[]
  /** For an error about a stanza that the configuration does not have: where pgts looked, and the stanzas it found. */
  readonly stanzaHints: readonly string[]
  /** Every option valid for the command, under the name it is written with, in name order. */
  readonly values: ReadonlyMap<string, ResolvedValue>
  /** The value of an option (`pg1-path`) in environment and files, as typed, even if the command line overrides it. */
  configured(name: string): string | undefined
}

/** Narrow by `command`. */
export type AnyResolved = { [C in CommandName]: Resolved<C> }[CommandName]

/**
 * Command line, environment, files and defaults to typed options. Rejects with a PgtsError whose message names the
 * option and where its value came from.
 */
export async function resolveOptions(input: ResolveInput): Promise<AnyResolved> {
  const line = (input.parse ?? parseCommandLine)(input.argv)
  const { command, role, parameters, parametersAt = [] } = line
  // As in pgbackrest 2.45, version ignores the options of other commands: check_pgbackrest passes --config.
  const given = command === 'version' ? line.settings.filter((setting) => isValid(command, setting)) : line.settings
  // Options next to `help` are those of the explained command.
  if (command !== 'help' && role !== 'remote') checkValidity(command, given)
  const callPattern = input.argv.map((word, at) => (parametersAt.includes(at) ? undefined : word))
  const resolved = { ...(await resolveFor(command, parameters, given, { ...input, role })), callPattern }
  return role === undefined ? resolved : { ...resolved, role }
}

/**
 * The values for `pgts help COMMAND`. Missing and invalid values are ignored;
 * a configuration file that cannot be read rejects.
 */
export function resolveForHelp(command: CommandName, input: ResolveInput): Promise<AnyResolved> {
  const { settings } = (input.parse ?? parseCommandLine)(input.argv)
  return resolveFor(command, [], settings, input, true)
}

async function resolveFor(
  command: CommandName,
  parameters: readonly string[],
  given: readonly Setting[],
  input: Omit<ResolveInput, 'argv'> & { readonly role?: CommandRole },
  lenient = false,
): Promise<AnyResolved> {
  const warnings: string[] = []
  const warn = (message: string) => void warnings.push(message)

  // They work without a valid environment or configuration.
  const bare = command === 'help' || command === 'version' || command === 'completion'
  const environment = bare ? { settings: [], warnings: [] } : environmentSettings(input.env, command)
  warnings.push(...environment.warnings)
  const above = strongest([...given, ...environment.settings])
  const files = filesOf(input, command, above)
  const name = programName(input.program)
  const located: LocatedConfig = bare
    ? { dialect: dialectOf(name), parts: [], looked: [], absent: [] }
    : locateConfig(above, files, name)
  const stanza = stanzaName(above, lenient)
  const file = await fileSettings(located, command, stanza, files)
  warnings.push(...file.exposed.map(exposedWarning), ...file.warnings)

  const stanzaHints = stanza !== undefined && file.stanzas.includes(stanza) ? [] : hintsFor(located, file.stanzas)
  const settings = settingsOf(input.role, strongest([...above, ...file.settings]))
  const { dialect } = located
  const evaluation = new Evaluation({
    command,
    dialect,
    settings: uncompressed(settings, warn),
    program: input.program,
    stanzaHints,
    cores: input.cores ?? availableParallelism(),
    warn,
    lenient,
  })
  const values = evaluation.all()
  const [repoKeys, pgKeys] = [evaluation.keys('repo'), evaluation.keys('pg')]
  if (!lenient) {
    refuseRoot(values, input.uid)
    checkSupport(command, values, warn)
    // The caller has checked its options, and a repository host has no data directory.
    if (input.role !== 'remote') checkHere(command, values, evaluation.missing)
    checkTogether(values, repoKeys, warn)
  }
  const options = typedOptions(values, repoKeys, pgKeys)
  return {
    command,
    options,
    parameters,
    dialect,
    configFiles: located.parts.map(({ path }) => path),
    configLooked: located.looked,
    callPattern: [],
    warnings,
    exposed: file.exposed,
    stanzas: file.stanzas,
    stanzaHints,
    values,
    configured: (name) =>
      [...environment.settings, ...file.settings].find(({ option, key }) => settingId(option, key) === name)?.typed[0],
  } as AnyResolved
}

/** A process that serves another host has its repository and its cluster on this one. */
function settingsOf(role: CommandRole | undefined, settings: readonly Setting[]): readonly Setting[] {
  return role === 'remote' ? settings.filter(({ option }) => !/^(?:pg|repo)-host/.test(option)) : settings
}

async function fileSettings(
  located: LocatedConfig,
  command: CommandName,
  stanza: string | undefined,
  files: ConfigFiles,
): Promise<{ settings: Setting[]; warnings: string[]; exposed: string[]; stanzas: readonly string[] }> {
  const isExposed = (path: string) => ((files.mode(path) ?? 0) & 0o007) !== 0
  if (located.dialect === 'ini') {
    const parts = located.parts.map(({ path, text }) => ({ path, entries: parseIni(text, path) }))
    const entries = parts.flatMap((part) => part.entries)
    const secrets = parts.filter((part) => iniHasSecret(part.entries)).map(({ path }) => path)
    return {
      ...iniSettings(entries, command, stanza),
      exposed: secrets.filter(isExposed),
      stanzas: iniStanzas(entries),
    }
  }
  const [part] = located.parts
  if (part === undefined) return { settings: [], warnings: [], exposed: [], stanzas: [] }
  const { parseYaml, yamlSettings } = await loadModule(() => import('./sources/yaml.ts'))
  const config = await parseYaml(part.text, part.path)
  const exposed = config.hasSecret && isExposed(part.path) ? [part.path] : []
  return { settings: yamlSettings(config, command, stanza), warnings: [], exposed, stanzas: config.stanzas }
}

export function exposedWarning(path: string): string {
  return `${path} contains secrets but is accessible to other users; run: chmod o-rwx ${path}`
}

/** For a command that writes the configuration, the file that --config names is empty if it does not exist. */
function filesOf(
  { files = systemFiles }: Pick<ResolveInput, 'files'>,
  command: CommandName,
  settings: readonly Setting[],
): ConfigFiles {
  if (commandRow(command).asks !== true) return files
  const named = settings.find(({ option }) => option === 'config')?.typed[0]
  return { ...files, read: (path) => files.read(path) ?? (path === named ? '' : undefined) }
}

function checkHere(command: CommandName, values: Map<string, ResolvedValue>, [missing]: readonly PgtsError[]): void {
  // A command that asks reports missing options itself.
  if (missing !== undefined && commandRow(command).asks !== true) throw missing
  checkClusterHost(command, values)
}

function hintsFor({ looked, absent }: LocatedConfig, stanzas: readonly string[]): string[] {
  const files = looked.map((path) => `${path} (${absent.includes(path) ? 'not found' : 'found'})`)
  return [
    `configuration files: ${files.length === 0 ? 'none were looked for' : files.join(', ')}`,
    stanzas.length === 0 ? 'the configuration has no stanza' : `stanzas in the configuration: ${stanzas.join(', ')}`,
  ]
}

/** The first setting of each option wins. */
function strongest(settings: readonly Setting[]): Setting[] {
  const first = new Map<string, Setting>()
  for (const setting of settings) {
    const id = settingId(setting.option, setting.key)
    if (!first.has(id)) first.set(id, setting)
  }
  return [...first.values()]
}

function isValid(command: CommandName, { option }: Setting): boolean {
  const { commands, roles } = optionRow(option)
  return roles === undefined && commands.includes(command)
}

function checkValidity(command: CommandName, given: readonly Setting[]): void {
  for (const setting of given) {
    if (isValid(command, setting)) continue
    const { commands, roles } = optionRow(setting.option)
    throw new PgtsError(
      'option-invalid',
      `option --${withIndex(setting.option, setting.key)} is not valid for command ${command}`,
      {
        hints: roles === undefined ? [`it is valid for ${listed(commands, 8)}`] : [],
      },
    )
  }
}

/** A stanza names a directory and a section. */
function stanzaName(settings: readonly Setting[], lenient: boolean): string | undefined {
  const setting = settings.find(({ option }) => option === 'stanza')
  const name = setting?.typed[0]
  if (setting === undefined || name === undefined) return undefined
  const bad = name === 'global' || /[/\\:[\]\0-\x20\x7f]/.test(name) || name.startsWith('.') || name.startsWith('-')
  if (bad && !lenient) {
    throw new PgtsError('option-invalid-value', `${describe(setting)}: invalid stanza name '${name}'`, {
      hints: ['use letters, digits, - and _; global is reserved'],
    })
  }
  return name
}

/** `compress=n` of old releases is compress-type=none. */
function uncompressed(settings: readonly Setting[], warn: (message: string) => void): readonly Setting[] {
  const compress = settings.find(({ option, reset }) => option === 'compress' && !reset)
  if (compress === undefined) return settings
  const type = settings.find(({ option, reset }) => option === 'compress-type' && !reset)
  if (type !== undefined) {
    warn(
      `compress (from ${compress.origin}) and compress-type (from ${type.origin}) are both set; compress-type is used`,
    )
    return settings
  }
  if (compress.typed[0] !== 'n') return settings
  const rest = settings.filter(({ option }) => option !== 'compress-type' && option !== 'compress-level')
  return [...rest, { ...compress, option: 'compress-type', typed: ['none'], negated: false }]
}

function refuseRoot(values: ReadonlyMap<string, ResolvedValue>, uid: number | undefined): void {
  if (uid !== 0 || values.get('allow-root')?.value !== false) return
  throw new PgtsError('option-invalid', 'pgts is running as root', {
    hints: [
      'run it as the user that PostgreSQL runs as, usually postgres',
      'or use --allow-root; what it writes then belongs to root, and the next run as another user may fail',
    ],
  })
}

function typedOptions(
  values: ReadonlyMap<string, ResolvedValue>,
  repoKeys: readonly number[],
  pgKeys: readonly number[],
): unknown {
  const options: Record<string, unknown> = {}
  const members = { repo: new Map<number, Record<string, unknown>>(), pg: new Map<number, Record<string, unknown>>() }
  for (const key of repoKeys) members.repo.set(key, { key })
  for (const key of pgKeys) members.pg.set(key, { key })
  for (const { option, key, value } of values.values()) {
    const group = groupOf(option)
    if (group === undefined) {
      options[option === 'repo' || option === 'pg' ? `${option}Key` : camel(option)] = value
      continue
    }
    const member = members[group].get(key)
    if (member !== undefined) member[camel(option.slice(group.length + 1))] = value
  }
  return { ...options, repo: [...members.repo.values()], pg: [...members.pg.values()] }
}
