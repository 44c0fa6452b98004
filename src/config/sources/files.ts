import { readdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { decodeText, textPath } from '../../util/byte-string.ts'
import { PgtsError, systemCode } from '../../util/error.ts'
import type { ProgramName } from '../../util/program-name.ts'
import type { Setting } from '../setting.ts'
import { parsePath } from '../value.ts'

/** Access to configuration files; tests replace it. */
export interface ConfigFiles {
  /** Text of `decodeText`, or undefined if the file does not exist. Throws on any other error. */
  read(path: string): string | undefined
  /** Names in a directory, or undefined if it does not exist. */
  list(path: string): readonly string[] | undefined
  /** Permission bits, to warn about secrets that other users can read. */
  mode(path: string): number | undefined
}

export type Dialect = 'yaml' | 'ini'

/** The files of one configuration, in the order in which they are read. */
export interface LocatedConfig {
  readonly dialect: Dialect
  readonly parts: readonly { readonly path: string; readonly text: string }[]
  /** Every file and directory that was looked for, found or not. */
  readonly looked: readonly string[]
  /** Those of `looked` that do not exist. */
  readonly absent: readonly string[]
}

export const PGTS_PATH = '/etc/pgts'
const PGTS_FILE = 'pgts.yaml'
const INI_PATH = '/etc/pgbackrest'
const INI_FILE = 'pgbackrest.conf'
const INI_OLD_FILE = '/etc/pgbackrest.conf'

/** The defaults that apply without a configuration file. */
export function dialectOf(name: ProgramName): Dialect {
  return name === 'pgbackrest' ? 'ini' : 'yaml'
}

/**
 * Finds the configuration. Without options: /etc/pgts/pgts.yaml if it exists, else pgts's defaults; under the name
 * pgbackrest the files that pgbackrest reads, else its defaults. A file name ending in .yaml or .yml is YAML; any other
 * is the dialect of pgbackrest.conf, as is everything with --config-include-path.
 */
export function locateConfig(settings: readonly Setting[], files: ConfigFiles, name: ProgramName): LocatedConfig {
  const exists = new Map<string, boolean>()
  const recordExistence =
    <T>(look: (path: string) => T) =>
    (path: string): T => {
      const found = look(path)
      exists.set(path, found !== undefined)
      return found
    }
  const located = locate(settings, { read: recordExistence(files.read), list: recordExistence(files.list) }, name)
  const looked = [...exists.keys()]
  return { ...located, looked, absent: looked.filter((path) => exists.get(path) === false) }
}

function locate(
  settings: readonly Setting[],
  files: Pick<ConfigFiles, 'read' | 'list'>,
  name: ProgramName,
): Omit<LocatedConfig, 'looked' | 'absent'> {
  const fallback = dialectOf(name)
  const find = (option: string) => settings.find((setting) => setting.option === option)
  const config = find('config')
  const base = pathValue(find('config-path'))
  const include = pathValue(find('config-include-path'))
  const includes = () => includeParts(include, base, config?.negated === true, config !== undefined, files)

  if (config !== undefined && !config.negated) {
    const path = config.typed[0] ?? ''
    const text = files.read(path)
    if (text === undefined) {
      throw new PgtsError('file-missing', `unable to open missing file '${path}' for read`, {
        hints: [`check --config, PGTS_CONFIG and PGBACKREST_CONFIG: the path comes from ${config.origin}`],
      })
    }
    if (!isYaml(path)) return { dialect: 'ini', parts: [{ path, text }, ...includes()] }
    if (include !== undefined) throw mixed(path)
    return { dialect: 'yaml', parts: [{ path, text }] }
  }

  if (config === undefined && include === undefined && name === 'pgts') {
    const path = join(base ?? PGTS_PATH, PGTS_FILE)
    const text = files.read(path)
    if (text !== undefined) return { dialect: 'yaml', parts: [{ path, text }] }
  }
  if (include === undefined && base === undefined && name === 'pgts') return { dialect: fallback, parts: [] }
  const main = config === undefined ? mainIni(base, files) : []
  const parts = [...main, ...includes()]
  // Nothing exists in --config-path: the defaults of the program name.
  return { dialect: parts.length > 0 || include !== undefined ? 'ini' : fallback, parts }
}

export function isYaml(path: string): boolean {
  return /\.ya?ml$/.test(path)
}

function mainIni(base: string | undefined, files: Pick<ConfigFiles, 'read'>): { path: string; text: string }[] {
  const candidates = base === undefined ? [join(INI_PATH, INI_FILE), INI_OLD_FILE] : [join(base, INI_FILE)]
  for (const path of candidates) {
    const text = files.read(path)
    if (text !== undefined) return [{ path, text }]
  }
  return []
}

function includeParts(
  include: string | undefined,
  base: string | undefined,
  noConfig: boolean,
  named: boolean,
  files: Pick<ConfigFiles, 'read' | 'list'>,
): { path: string; text: string }[] {
  // --config=F alone reads F and nothing else; so does --no-config, which reads nothing.
  if (include === undefined && base === undefined && (named || noConfig)) return []
  const directory = include ?? join(base ?? INI_PATH, 'conf.d')
  const names = files.list(directory)
  if (names === undefined) {
    if (include === undefined) return []
    throw new PgtsError('path-missing', `directory ${directory} of config-include-path does not exist`)
  }
  return names
    .filter((name) => name.endsWith('.conf'))
    .sort()
    .flatMap((name) => {
      const path = join(directory, name)
      const text = files.read(path)
      return text === undefined ? [] : [{ path, text }]
    })
}

function pathValue(setting: Setting | undefined): string | undefined {
  const text = setting?.typed[0]
  if (text === undefined) return undefined
  try {
    return parsePath(text)
  } catch (cause) {
    throw new PgtsError('option-invalid-value', `${setting?.option} (from ${setting?.origin}): ${String(cause)}`, {
      cause,
    })
  }
}

function mixed(path: string): PgtsError {
  return new PgtsError('option-invalid', `config-include-path cannot be used with ${path}`, {
    hints: ['included files are read as pgbackrest.conf, which does not mix with YAML'],
  })
}

/** The files of this machine. */
export const systemFiles: ConfigFiles = {
  read: (path) => attempt(path, 'file-open', () => decodeText(readFileSync(textPath(path)))),
  list: (path) => attempt(path, 'path-open', () => readdirSync(textPath(path), { encoding: 'buffer' }).map(decodeText)),
  mode: (path) => attempt(path, 'file-info', () => statSync(textPath(path)).mode & 0o7777),
}

function attempt<T>(path: string, code: 'file-open' | 'path-open' | 'file-info', act: () => T): T | undefined {
  try {
    return act()
  } catch (cause) {
    const why = systemCode(cause)
    if (why === 'ENOENT' || why === 'ENOTDIR') return undefined
    const denied = why === 'EACCES' || why === 'EPERM'
    throw new PgtsError(code, `cannot read configuration ${path}: ${denied ? 'permission denied' : String(why)}`, {
      hints: denied ? ['the user that runs pgts must be able to read it, usually postgres'] : [],
      cause,
    })
  }
}
