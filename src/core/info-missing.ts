import { isPgtsError, PgtsError } from '../util/error.ts'

/** For an info file that is missing together with its copy. */
export const STANZA_HINTS: readonly string[] = [
  'run stanza-create if this stanza is new',
  'is repo-path the same as on the host that makes the backups?',
  'when the stanza was in use, the file was lost: remove nothing, and bring it back with its copy from a snapshot or a ' +
    'mirror of the repository; stanza-create makes no new one beside backups and WAL',
]

/**
 * Add hints to the error of an info file that is missing: the name of the stanza may be wrong, or the configuration not
 * found. Every other error is returned unchanged.
 *
 * @param hints of a stanza that the configuration does not have; none: it has the stanza
 */
export function withStanzaHints(error: unknown, hints: readonly string[]): unknown {
  if (hints.length === 0 || !isPgtsError(error) || !error.hints.includes(STANZA_HINTS[0]!)) return error
  return new PgtsError(error.code, error.message, { hints: [...error.hints, ...hints], cause: error.cause })
}
