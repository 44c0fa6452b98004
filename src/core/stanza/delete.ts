import { archiveInfoName, archivePath, backupInfoName, backupPath, copyName, ownPath } from '../../format/repo-path.ts'
import type { StorageDriver } from '../../storage/driver.ts'

/** Is anything of the stanza in this repository? */
export async function hasStanza(storage: StorageDriver, stanza: string, signal: AbortSignal): Promise<boolean> {
  for (const path of [archivePath(stanza), backupPath(stanza)]) {
    // The first entry answers; a listing stops when it is left.
    for await (const _entry of storage.list(path, { namesOnly: true, signal })) return true
  }
  return false
}

/**
 * Remove a stanza with everything in it. The info files go first: without them no command, of this program or of
 * pgBackRest, takes what is left for a stanza, wherever this run is killed; the next run removes the rest.
 */
export async function deleteStanza(storage: StorageDriver, stanza: string, signal: AbortSignal): Promise<void> {
  for (const name of [archiveInfoName(stanza), backupInfoName(stanza)]) {
    await storage.remove(name, { signal })
    await storage.remove(copyName(name), { signal })
  }
  await storage.sync(archivePath(stanza), { signal })
  await storage.sync(backupPath(stanza), { signal })
  await storage.removeTree(archivePath(stanza), { signal })
  await storage.removeTree(backupPath(stanza), { signal })
  // What pgts alone remembers of the stanza goes last: the lease that keeps others away is in there.
  await storage.removeTree(ownPath(stanza), { signal })
}
