import { PgtsError } from '../../util/error.ts'
import { textName } from '../object/text-name.ts'

/**
 * Characters that a blob name must not contain. XML cannot carry control characters: every listing that includes such a
 * name fails or returns another name. The service converts a backslash to a slash.
 */
const FORBIDDEN = /[\x00-\x1f\\\ufffe\uffff]/

/** Converts a byte string to the form of a name that the SDK takes. */
export function blobName(name: string): string {
  const text = textName(name)
  if (FORBIDDEN.test(text)) {
    throw new PgtsError('file-open', `${JSON.stringify(name)} cannot be the name of a blob in Azure`, {
      hints: ['rename the file, or bundle small files (repo-bundle): what is bundled needs no name of its own'],
    })
  }
  return text
}
