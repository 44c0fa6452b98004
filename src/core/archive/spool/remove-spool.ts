import { readdirSync, renameSync } from 'node:fs'
import { bytes, bytesToText, parentOf, pathOf, type ByteString } from '../../../util/byte-string.ts'
import { messageOf, PgtsError, systemCode } from '../../../util/error.ts'
import type { Logger } from '../../../util/log.ts'
import { removeTreeSync } from '../../../util/remove-tree.ts'
import type { SpoolPaths } from './spool-files.ts'

/** No name of a stanza begins with this. */
const ASIDE = '.removed-'

/**
 * Remove the spool of a stanza. A background process of the former server may still write to it, so the directory is
 * renamed first: that process cannot reach it any more, and ends because its lock file is missing. If the renamed
 * directory cannot be removed, a warning is logged; nothing reads it.
 *
 * @throws PgtsError file-remove: the spool keeps its name
 */
export function removeSpool(spool: SpoolPaths, log: Logger): void {
  const [directory, stanza] = [parentOf(spool.root), spool.root.slice(spool.root.lastIndexOf('/') + 1)]
  const prefix = bytes`${ASIDE}${stanza}-`
  try {
    renameSync(pathOf(spool.root), pathOf(bytes`${directory}/${prefix}${process.pid}-${Date.now()}`))
  } catch (error) {
    if (systemCode(error) !== 'ENOENT' && systemCode(error) !== 'ENOTDIR') {
      throw new PgtsError('file-remove', `unable to remove '${bytesToText(spool.root)}': ${String(error)}`, {
        hints: ['the user of this process must be able to change spool-path'],
        cause: error,
      })
    }
  }
  for (const name of namesIn(directory)) {
    if (!name.startsWith(prefix)) continue
    try {
      removeTreeSync(bytes`${directory}/${name}`)
    } catch (error) {
      log.warn(`cannot remove former spool '${bytesToText(bytes`${directory}/${name}`)}': ${messageOf(error)}`)
    }
  }
}

function namesIn(directory: ByteString): string[] {
  try {
    return readdirSync(pathOf(directory), { encoding: 'latin1' })
  } catch {
    // No spool, or it cannot be listed: directories that an earlier restore renamed remain.
    return []
  }
}
