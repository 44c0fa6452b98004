import { lstatSync } from 'node:fs'
import { asBytes, bytes, pathOf, type ByteString } from '../../util/byte-string.ts'

/**
 * The file in a data directory that a restore leaves when the cluster is a copy: archive-push and backup then refuse the
 * stanza that it was restored from (docs/decisions/0039-a-copy-does-not-archive.md). No backup contains it.
 */
export const COPY_MARK = asBytes('pgts.copy')

export function copyMarkPath(pgPath: ByteString): ByteString {
  return bytes`${pgPath}/${COPY_MARK}`
}

/** One system call, because archive-push and archive-get call it for every segment. */
export function hasCopyMark(pgPath: ByteString): boolean {
  return lstatSync(pathOf(copyMarkPath(pgPath)), { throwIfNoEntry: false }) !== undefined
}
