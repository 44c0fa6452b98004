/** The program names that pgts distinguishes; any other name is treated as `pgts`. */
export type ProgramName = 'pgts' | 'pgbackrest'

/**
 * The name under which the program was called. It decides between the configuration search, defaults, version and names
 * in hints of pgts and pgbackrest: docs/decisions/0028.
 *
 * @param program path of the program
 */
export function programName(program: string): ProgramName {
  return /(?:^|\/)pgbackrest$/.test(program) ? 'pgbackrest' : 'pgts'
}
