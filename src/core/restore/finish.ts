import { invalidateCheckpoint } from '../../postgres/control-file.ts'
import { parentOf } from '../../util/byte-string.ts'
import type { Logger } from '../../util/log.ts'
import type { Layout } from './layout.ts'
import { CONTROL_TEMP_SUFFIX, type RestorePlan } from './plan.ts'
import { readSmallFile, removeEntry, renameEntry, syncDirectory, writeSmallFile } from './file-system.ts'

/** In the data directory while a restore runs, so that an interrupted restore can be continued with `--delta`. */
export const MANIFEST_NAME = 'backup.manifest'

/**
 * The end of a restore. The order is the promise: a host that loses power between two lines has no pg_control, so the
 * server refuses to start, and the same restore run again with `--delta` finishes the work.
 *  1. backup.manifest goes
 *  2. every directory is durable, with all its entries; the files are already
 *  3. pg_control gets its name, and that is durable: from here the cluster can start
 *
 * @param online the checkpoint in pg_control is made invalid, so that the server cannot start without backup_label
 */
export function finishRestore(
  plan: RestorePlan,
  layout: Layout,
  options: { readonly online: boolean; readonly log: Logger },
): void {
  removeEntry(`${layout.pgPath}/${MANIFEST_NAME}`)
  for (const directory of directoriesOf(plan, layout)) syncDirectory(directory)
  publishControl(layout.pgPath, options)
}

function publishControl(pgPath: string, options: { readonly online: boolean; readonly log: Logger }): void {
  const path = `${pgPath}/global/pg_control`
  const temporary = path + CONTROL_TEMP_SUFFIX
  const content = readSmallFile(temporary)
  if (content === undefined) {
    options.log.warn('backup does not contain pg_control -- the cluster will not start')
    return
  }
  if (options.online) writeSmallFile(temporary, invalidateCheckpoint(content), undefined, undefined)
  options.log.info(`restore global/pg_control (performed last to ensure aborted restores cannot be started)`)
  renameEntry(temporary, path)
  syncDirectory(`${pgPath}/global`)
}

/** Every directory that a restore may have changed: those of the backup, and where the places themselves lie. */
function directoriesOf(plan: RestorePlan, layout: Layout): Set<string> {
  const directories = new Set(plan.paths.map(({ path }) => path))
  for (const place of layout.places) directories.add(parentOf(place.path))
  for (const { path } of plan.paths) if (!directories.has(parentOf(path))) directories.add(parentOf(path))
  return directories
}
