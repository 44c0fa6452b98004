import { programName } from '../../../util/program-name.ts'

/** bin/pgts compares the variables of these repositories in every call, of others only if the hint names them. */
const FIXED_KEYS = [1, 2, 3, 4]
const PREFIXES = ['PGTS', 'PGBACKREST']

/**
 * The variables that determine where WAL is stored and that bin/pgts compares in every call, in this order. A test compares
 * the list with bin/pgts.
 */
export const fixedVariables: readonly string[] = withPrefixes([
  'CONFIG',
  'CONFIG_PATH',
  'CONFIG_INCLUDE_PATH',
  'STANZA',
  'ARCHIVE_ASYNC',
  'SPOOL_PATH',
  'LOCK_PATH',
  'PG1_PATH',
  ...FIXED_KEYS.flatMap(repositoryOptions),
])

/** The part of the environment that a hint was written for. */
export interface LaunchEnvironment {
  /** Configured repositories beyond repo4: their variables follow those of `fixedVariables`. */
  readonly furtherKeys: readonly number[]
  /** Program name and values, separated by `|`. A line break: no hint is possible for this environment. */
  readonly line: string
}

/**
 * @param program path of the program; its name determines where the configuration is
 * @param repoKeys of all configured repositories
 */
export function launchEnvironment(
  env: Readonly<Record<string, string | undefined>>,
  program: string,
  repoKeys: readonly number[],
): LaunchEnvironment {
  const furtherKeys = repoKeys.filter((key) => !FIXED_KEYS.includes(key))
  const names = [...fixedVariables, ...furtherKeys.flatMap((key) => withPrefixes(repositoryOptions(key)))]
  const values = names.map((name) => env[name])
  const line = values.some((value) => value?.includes('|'))
    ? '\n'
    : [programName(program), ...values.map((value) => (value === undefined ? '' : `=${value}`))].join('|')
  return { furtherKeys, line }
}

function repositoryOptions(key: number): string[] {
  return [`REPO${key}_PATH`, `REPO${key}_TYPE`, `REPO${key}_HOST`]
}

function withPrefixes(options: readonly string[]): string[] {
  return PREFIXES.flatMap((prefix) => options.map((option) => `${prefix}_${option}`))
}
