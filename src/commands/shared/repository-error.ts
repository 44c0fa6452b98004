import { withStanzaHints } from '../../core/info-missing.ts'
import { EXIT_CODES, toPlainError } from '../../util/error.ts'
import type { CommandContext } from '../context.ts'
import { repoId } from '../../util/repo-id.ts'

/** Log the error of one repository; the command continues with the next one. */
export function logRepositoryError({ log, stanzaHints }: CommandContext, key: number, error: unknown): void {
  const { code, message, hints } = toPlainError(withStanzaHints(error, stanzaHints))
  const lines = [`${repoId(key)}: ${message}`, ...hints.map((hint) => `HINT: ${hint}`)]
  log.error({ repo: key, code: EXIT_CODES[code] }, lines.join('\n'))
}
