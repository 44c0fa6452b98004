import { archiveInfoName, archivePath, backupInfoName, backupPath, copyName, ownPath } from '../../format/repo-path.ts'
import type { StorageDriver } from '../../storage/driver.ts'

/** True if the repository contains anything of the stanza. */
export async function hasStanza(storage: StorageDriver, stanza: string, signal: AbortSignal): Promise<boolean> {
  for (const path of [archivePath(stanza), backupPath(stanza)]) {
    // The first entry is sufficient; leaving the loop stops the listing.
    for await (const _entry of storage.list(path, { namesOnly: true, signal })) return true
  }
  return false
}

/**
 * Removes a stanza completely. The info files are removed first: without them neither pgts nor pgBackRest accepts the
 * rest as a stanza, even if this run is killed; the next run removes the rest.
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
  // pgts's own files are removed last, because they include the lease that excludes other hosts.
  await storage.removeTree(ownPath(stanza), { signal })
}
