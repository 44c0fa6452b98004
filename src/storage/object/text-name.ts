import { isUtf8 } from 'node:buffer'
import { PgtsError } from '../../util/error.ts'

/**
 * Converts a name to the text that an SDK sends as UTF-8. Names in stores are text, so a file of a cluster whose name
 * is not UTF-8 cannot be stored under its own name; in a bundle it can.
 *
 * @param name byte string
 */
export function textName(name: string): string {
  const bytes = Buffer.from(name, 'latin1')
  if (!isUtf8(bytes)) {
    throw new PgtsError('file-open', `${JSON.stringify(name)} cannot be the name of an object: it is not UTF-8`, {
      hints: ['rename the file, or set repo-bundle: a bundled file is not stored under its own name'],
    })
  }
  return bytes.toString('utf8')
}
