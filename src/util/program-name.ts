/** The names that pgts distinguishes; it treats any other name of a link to it as `pgts`. */
export type ProgramName = 'pgts' | 'pgbackrest'

/**
 * The name that the program was called by. It decides between pgts's and pgbackrest's configuration search,
 * defaults, version and names in hints: docs/decisions/0028.
 *
 * @param program path of the program
 */
export function programName(program: string): ProgramName {
  return /(?:^|\/)pgbackrest$/.test(program) ? 'pgbackrest' : 'pgts'
}
