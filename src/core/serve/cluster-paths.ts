import { bytes, bytesToText, type ByteString } from '../../util/byte-string.ts'
import { PgtsError } from '../../util/error.ts'

/** Refuses paths outside of a data directory [105]. Links below it are followed: they belong to the cluster. */
export function assertBelow(pgPath: ByteString, path: ByteString): void {
  const isInside = path === pgPath || path.startsWith(pgPath === '/' ? '/' : bytes`${pgPath}/`)
  const isPlain = !/\/(?:\.{0,2}(?:\/|$))/.test(path.slice(pgPath.length)) && !path.includes('\0')
  if (isInside && isPlain) return
  throw new PgtsError('access', `'${bytesToText(path)}' is not in the data directory '${bytesToText(pgPath)}'`)
}
