import { isPgtsError, PgtsError } from '../util/error.ts'

/** Hints for an info file that is missing together with its copy. */
export const STANZA_HINTS: readonly string[] = [
  'run stanza-create if this stanza is new',
  'check that repo-path is the same as on the host that takes the backups',
  'if the stanza was in use, the file was lost: remove nothing, and restore it with its copy from a snapshot or a ' +
    'mirror of the repository; stanza-create does not create it beside existing backups and WAL',
]

/**
 * Adds hints to the error of a missing info file: the name of the stanza may be wrong, or the configuration file was
 * not found. Every other error is returned unchanged.
 *
 * @param hints for a stanza that the configuration does not contain; empty: the configuration contains it
 */
export function withStanzaHints(error: unknown, hints: readonly string[]): unknown {
  if (hints.length === 0 || !isPgtsError(error) || !error.hints.includes(STANZA_HINTS[0]!)) return error
  return new PgtsError(error.code, error.message, { hints: [...error.hints, ...hints], cause: error.cause })
}
