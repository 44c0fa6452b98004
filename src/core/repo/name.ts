import { PgtsError } from '../../util/error.ts'
import { asBytes, bytes, bytesToText, type ByteString } from '../../util/byte-string.ts'

/**
 * The name of a file or path in a repository from user input: relative to the repository, or absolute and inside it. ''
 * is the repository itself.
 *
 * @param typed byte string
 * @param root repo-path, byte string
 * @throws PgtsError param-invalid
 */
export function repositoryName(typed: ByteString, root: ByteString): ByteString {
  const base = root === '/' ? asBytes('') : root.replace(/\/+$/, '')
  let name = typed
  if (name.startsWith('/')) {
    if (name !== base && !name.startsWith(bytes`${base}/`)) {
      throw new PgtsError('param-invalid', `${bytesToText(typed)} is not in the repository`, {
        hints: [`an absolute path begins with ${bytesToText(base)}/; a relative path is relative to it`],
      })
    }
    name = name.slice(base.length + 1)
  }
  if (name.endsWith('/')) name = name.slice(0, -1)
  const parts = name.split('/')
  if (name !== '' && parts.some((part) => part === '' || part === '.' || part === '..')) {
    throw new PgtsError(
      'param-invalid',
      `${bytesToText(typed)} is not a valid path: it contains an empty part, '.' or '..'`,
    )
  }
  return name
}
