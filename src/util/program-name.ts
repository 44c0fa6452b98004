/** The two names that pgts acts by; any other name of a link to it counts as `pgts`. */
export type ProgramName = 'pgts' | 'pgbackrest'

/**
 * The name that the program was called by. Only this decides between pgts's and pgbackrest's configuration search,
 * defaults, version and names in hints: docs/decisions/0028.
 *
 * @param program path of the program
 */
export function programName(program: string): ProgramName {
  return /(?:^|\/)pgbackrest$/.test(program) ? 'pgbackrest' : 'pgts'
}
