import type { ForcedVersion } from '../../postgres/cluster-access.ts'
import { invalidateCheckpoint } from '../../postgres/control-file.ts'
import { bytes, parentOf, type ByteString } from '../../util/byte-string.ts'
import type { Logger } from '../../util/log.ts'
import type { Layout } from './layout.ts'
import { CONTROL_TEMP_SUFFIX, type RestorePlan } from './plan.ts'
import { readSmallFile, removeEntry, renameEntry, syncDirectory, writeSmallFile } from './file-system.ts'

/** File in the data directory during a restore, so that an interrupted restore can be continued with `--delta`. */
export const MANIFEST_NAME = 'backup.manifest'

export interface FinishOptions extends ForcedVersion {
  /** The checkpoint in pg_control is invalidated, so that the server cannot start without backup_label. */
  readonly online: boolean
  readonly log: Logger
}

/**
 * Finishes a restore. The order ensures that a host that loses power between two steps has no pg_control, so the server
 * does not start, and the same restore with `--delta` finishes the work.
 *  1. backup.manifest is removed
 *  2. every directory is made durable with its entries; the files are durable already
 *  3. pg_control gets its name durably: from here on the cluster can start
 */
export function finishRestore(plan: RestorePlan, layout: Layout, options: FinishOptions): void {
  removeEntry(bytes`${layout.pgPath}/${MANIFEST_NAME}`)
  for (const directory of directoriesOf(plan, layout)) syncDirectory(directory)
  publishControl(layout.pgPath, options)
}

function publishControl(pgPath: string, options: FinishOptions): void {
  const path = bytes`${pgPath}/global/pg_control`
  const temporary = bytes`${path}${CONTROL_TEMP_SUFFIX}`
  const content = readSmallFile(temporary)
  if (content === undefined) {
    options.log.warn('backup does not contain pg_control -- the cluster will not start')
    return
  }
  if (options.online) writeSmallFile(temporary, invalidateCheckpoint(content, options), undefined, undefined)
  options.log.info(`restore global/pg_control (performed last to ensure aborted restores cannot be started)`)
  renameEntry(temporary, path)
  syncDirectory(bytes`${pgPath}/global`)
}

/** Every directory that a restore may have changed: the directories of the backup, and the parents of the places. */
function directoriesOf(plan: RestorePlan, layout: Layout): Set<ByteString> {
  const directories = new Set(plan.paths.map(({ path }) => path))
  for (const place of layout.places) directories.add(parentOf(place.path))
  for (const { path } of plan.paths) if (!directories.has(parentOf(path))) directories.add(parentOf(path))
  return directories
}
