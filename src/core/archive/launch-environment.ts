import { programName } from '../../util/program-name.ts'

/** The options of the environment that say where WAL goes, each for both prefixes. The launcher has the same list. */
const ENVIRONMENT = [
  'CONFIG',
  'CONFIG_PATH',
  'CONFIG_INCLUDE_PATH',
  'STANZA',
  'ARCHIVE_ASYNC',
  'SPOOL_PATH',
  'LOCK_PATH',
  'PG1_PATH',
  ...[1, 2, 3, 4].flatMap((key) => [`REPO${key}_PATH`, `REPO${key}_TYPE`, `REPO${key}_HOST`]),
]

/** The names of the variables that are compared, in order. */
export const launchEnvironment: readonly string[] = ['PGTS', 'PGBACKREST'].flatMap((prefix) =>
  ENVIRONMENT.map((name) => `${prefix}_${name}`),
)

/**
 * One line that changes when one of these variables or the name of the program does, which decides where the
 * configuration is; a value with the separator in it fits no hint.
 *
 * @param program path of the program
 */
export function environmentLine(env: Readonly<Record<string, string | undefined>>, program: string): string {
  const values = launchEnvironment.map((name) => env[name])
  if (values.some((value) => value?.includes('|'))) return '\n'
  return [programName(program), ...values.map((value) => (value === undefined ? '' : `=${value}`))].join('|')
}
