import { isPgtsError, type PgtsError } from '../util/error.ts'

/** For an info file that is missing together with its copy. */
export const STANZA_HINTS: readonly string[] = [
  'run stanza-create if this stanza is new',
  'is repo-path the same as on the host that makes the backups?',
  'when the stanza was in use, the file was lost: remove nothing, and bring it back with its copy from a snapshot or a ' +
    'mirror of the repository; stanza-create makes no new one beside backups and WAL',
]

/** @returns true for the error of an info file that is missing, for example because the name of the stanza is wrong */
export function isStanzaMissing(error: unknown): error is PgtsError {
  return isPgtsError(error, 'file-missing') && error.hints.includes(STANZA_HINTS[0]!)
}
