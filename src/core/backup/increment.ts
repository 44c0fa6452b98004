import type { Manifest, ManifestFile } from '../../format/manifest.ts'
import { clusterPath, type ListedFile } from '../../postgres/data-directory.ts'
import { bytesToText, type ByteString } from '../../util/byte-string.ts'
import type { LazyList } from '../../util/lazy-list.ts'
import { PlannedFiles, type PlannedFile, type UseOfPrior } from './planned-files.ts'
import { PriorFiles } from './prior-files.ts'

export type { PlannedFile } from './planned-files.ts'

export interface IncrementOptions {
  /** Data directory. */
  readonly pgPath: ByteString
  /** The option delta: compare files by checksum. */
  readonly delta: boolean
  readonly online: boolean
  /** If small files are bundled, empty files are not stored. */
  readonly bundle: boolean
  /** First WAL segment of an online backup. */
  readonly archiveStart?: string
  /** Time at which the listing was complete, seconds since the epoch; before the wait for the next second. */
  readonly timestampListed: number
}

export interface Increment {
  readonly files: PlannedFiles
  /** Files are compared by checksum, because of the option or because their times cannot be trusted. */
  readonly delta: boolean
  /** Why delta is on although the option is off, for the log. */
  readonly deltaReason?: string
}

/**
 * Decide which files a backup copies and which it takes from the prior backup.
 *
 * @param prior manifest of the prior backup; undefined for a full
 * @see docs/format/manifest.md, which files a diff or incr copies
 */
export function planIncrement(
  files: LazyList<ListedFile>,
  prior: Manifest | undefined,
  options: IncrementOptions,
): Increment {
  const deltaReason = options.delta ? undefined : distrustOfTimes(files, prior, options)
  const delta = options.delta || deltaReason !== undefined
  const planned = new PlannedFiles(files, prior)
  const priorFiles = new PriorFiles(prior?.files ?? [])
  let index = 0
  for (const file of files) {
    const found = priorFiles.find(file.name)
    if (file.sizeBytes === 0 && options.bundle) planned.plan(index, 'empty')
    else if (prior !== undefined && found !== undefined) {
      const isUncertain = delta || mayLagBehind(file, found.file, prior)
      const { action, ...use } = planFile(file, found.file, { delta: isUncertain, online: options.online })
      planned.plan(index, action, { index: found.index, ...use })
    }
    index++
  }
  return { files: planned, delta, deltaReason }
}

/**
 * The prior backup has the times of the primary and the content of a standby, which had replayed the start of the backup
 * only. So it may lack a change that the primary wrote between the start and the listing. Backups of pgbackrest have such
 * times; those of pgts have earlier ones.
 */
function mayLagBehind({ sizeLimited, timestamp }: ListedFile, priorFile: ManifestFile, prior: Manifest): boolean {
  if (timestamp !== priorFile.timestamp) return false
  return sizeLimited && prior.options.backupStandby === true && timestamp >= prior.timestampStart
}

/**
 * True if the files of a backup may have been listed on a standby, where they have other times. Such a backup contains its
 * WAL; one with archive-copy that was listed on the primary looks the same.
 */
export function mayHaveTimesOfStandby({ options }: Pick<Manifest, 'options'>): boolean {
  return options.backupStandby === true && options.archiveCopy
}

const CONTROL = 'pg_data/global/pg_control'

function planFile(
  file: ListedFile,
  priorFile: ManifestFile,
  { delta, online }: { delta: boolean; online: boolean },
): Omit<UseOfPrior, 'index'> & Pick<PlannedFile, 'action'> {
  const isBlocks = priorFile.blockMapSize !== undefined && file.sizeBytes >= (priorFile.blockSize ?? Infinity)
  if (file.sizeBytes !== priorFile.sizeBytes) return { action: 'copy', isEntry: false, isBlocks }
  // An online backup begins with a checkpoint, so its pg_control has changed, whatever its time is.
  if (online && file.name === CONTROL) return { action: 'copy', isEntry: false, isBlocks: false }
  if (file.sizeBytes === 0) return { action: 'reference', isEntry: true, isBlocks: false }
  if (delta) return { action: 'compare', isEntry: true, isBlocks }
  return { action: file.timestamp === priorFile.timestamp ? 'reference' : 'copy', isEntry: true, isBlocks }
}

/** The first reason why file times cannot prove that a file is unchanged, or undefined. */
function distrustOfTimes(
  files: Iterable<ListedFile>,
  prior: Manifest | undefined,
  options: IncrementOptions,
): string | undefined {
  const shown = ({ name }: ListedFile) => bytesToText(clusterPath(options.pgPath, name))
  for (const file of files) {
    if (file.timestamp > options.timestampListed)
      return `file ${shown(file)} has a time in the future (${file.timestamp})`
  }
  if (prior === undefined) return undefined
  const timelines = [options.archiveStart?.slice(0, 8), prior.archiveStop?.slice(0, 8)]
  if (timelines[0] !== undefined && timelines[1] !== undefined && timelines[0] !== timelines[1])
    return `the timeline has changed since backup ${prior.label}, as it does after a restore or a promotion`
  if (options.online !== prior.options.online)
    return `backup ${prior.label} was made ${prior.options.online ? 'online' : 'offline'} and this one is not`
  const priorFiles = new PriorFiles(prior.files)
  for (const file of files) {
    const priorFile = priorFiles.find(file.name)?.file
    if (priorFile === undefined) continue
    if (file.timestamp < priorFile.timestamp)
      return `file ${shown(file)} is older (${file.timestamp}) than in backup ${prior.label} (${priorFile.timestamp})`
    const sizeThen = priorFile.sizeOriginalBytes ?? priorFile.sizeBytes
    if (file.timestamp === priorFile.timestamp && file.sizeBytes !== sizeThen)
      return (
        `file ${shown(file)} has the time it had in backup ${prior.label}, ` +
        `but ${file.sizeBytes} bytes instead of ${sizeThen}`
      )
  }
  return undefined
}
