import { wordToShow } from '../../config/shown.ts'
import { PgtsError } from '../../util/error.ts'
import { bashScript } from './bash.ts'
import { fishScript } from './fish.ts'
import { SHELLS, type Shell } from './table.ts'
import { zshScript } from './zsh.ts'

const SCRIPTS: Readonly<Record<Shell, () => string>> = { bash: bashScript, zsh: zshScript, fish: fishScript }

/**
 * The completion script of a shell, generated from the tables of commands and options.
 *
 * @throws PgtsError param-invalid
 */
export function completionScript(shell = ''): string {
  const known = SHELLS.find((name) => name === shell)
  if (known === undefined)
    throw new PgtsError('param-invalid', `invalid shell '${wordToShow(shell)}'`, {
      hints: [`pgts completion ${SHELLS.join('|')}`],
    })
  return SCRIPTS[known]()
}
