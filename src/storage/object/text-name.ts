import { isUtf8 } from 'node:buffer'
import { PgtsError } from '../../util/error.ts'

/**
 * A name as the text that the SDK of a store takes and sends as UTF-8. Stores know names of text only, so a file of a
 * cluster whose name is not UTF-8 cannot be kept there under its own name; bundled, it can.
 *
 * @param name byte string
 */
export function textName(name: string): string {
  const bytes = Buffer.from(name, 'latin1')
  if (!isUtf8(bytes)) {
    throw new PgtsError('file-open', `${JSON.stringify(name)} cannot be the name of an object: it is not UTF-8`, {
      hints: ['rename the file, or bundle small files (repo-bundle): what is bundled needs no name of its own'],
    })
  }
  return bytes.toString('utf8')
}
