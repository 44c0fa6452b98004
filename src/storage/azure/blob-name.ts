import { PgtsError } from '../../util/error.ts'
import { textName } from '../object/text-name.ts'

/**
 * What a blob's name must not contain. With a control character in it, the listing of everything around it fails or
 * tells another name, because XML cannot carry it; and the service takes a backslash for a slash.
 */
const FORBIDDEN = /[\x00-\x1f\\\ufffe\uffff]/

/** A name as the SDK takes it. @param name byte string */
export function blobName(name: string): string {
  const text = textName(name)
  if (FORBIDDEN.test(text)) {
    throw new PgtsError('file-open', `${JSON.stringify(name)} cannot be the name of a blob in Azure`, {
      hints: ['rename the file, or bundle small files (repo-bundle): what is bundled needs no name of its own'],
    })
  }
  return text
}
