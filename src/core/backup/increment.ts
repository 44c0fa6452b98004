import type { Manifest, ManifestFile } from '../../format/manifest.ts'
import type { ListedFile } from '../../postgres/data-directory.ts'
import { bytesToText } from '../../util/byte-string.ts'

/**
 * What is done with one file of the cluster.
 *  - `empty`: it has no content; only the manifest lists it
 *  - `reference`: its size and time are those of the file in the prior backup
 *  - `compare`: it is read and hashed first, and copied only when it differs from the prior
 *  - `copy`: it is copied
 */
export interface PlannedFile {
  readonly file: ListedFile
  readonly action: 'empty' | 'reference' | 'compare' | 'copy'
  /**
   * The manifest entry when the content is what the prior backup has: the prior's storage, today's owner, mode and time.
   * Present whenever the sizes are equal, because a file that was touched may hold what it held priorFiles.
   */
  readonly priorEntry?: ManifestFile
  /** The prior's entry when it is stored as blocks that a new block map may continue. `reference` is always set. */
  readonly priorBlocks?: ManifestFile
  /** The entry when an interrupted backup has stored it already, which is to be proven. */
  readonly resumed?: ManifestFile
}

export interface IncrementOptions {
  /** The option delta: compare by checksum. */
  readonly delta: boolean
  readonly online: boolean
  /** Empty files are not stored when small files are bundled. */
  readonly bundle: boolean
  /** Segment with which an online backup starts. */
  readonly archiveStart?: string
  /** When the list of files was complete, seconds since the epoch, before the wait for the next second. */
  readonly timestampListed: number
}

export interface Increment {
  readonly files: readonly PlannedFile[]
  /** Files are compared by checksum, by option or because times cannot be trusted. */
  readonly delta: boolean
  /** Why delta is on although the option is off: a sentence for the operator. */
  readonly deltaReason?: string
}

/**
 * Decide which files a backup copies and which it takes from the prior backup.
 *
 * @param prior manifest of the backup to build on; undefined for a full
 * @see docs/format/manifest.md, which files a diff or incr copies
 */
export function planIncrement(
  files: readonly ListedFile[],
  prior: Manifest | undefined,
  options: IncrementOptions,
): Increment {
  const priorFiles = new Map(prior?.files.map((file) => [file.name, file]))
  const deltaReason = options.delta ? undefined : distrustOfTimes(files, prior, priorFiles, options)
  const delta = options.delta || deltaReason !== undefined
  const planned = files.map((file): PlannedFile => {
    if (file.sizeBytes === 0 && options.bundle) return { file, action: 'empty' }
    const priorFile = priorFiles.get(file.name)
    if (prior === undefined || priorFile === undefined) return { file, action: 'copy' }
    return planFile(file, priorFile, { label: prior.label, delta, online: options.online })
  })
  return { files: planned, delta, deltaReason }
}

const CONTROL = 'pg_data/global/pg_control'

function planFile(
  file: ListedFile,
  priorFile: ManifestFile,
  { label, delta, online }: { label: string; delta: boolean; online: boolean },
): PlannedFile {
  const holder = priorFile.reference ?? label
  const blocks =
    priorFile.blockMapSize !== undefined && file.sizeBytes >= (priorFile.blockSize ?? Infinity)
      ? { priorBlocks: { ...priorFile, reference: holder } }
      : {}
  if (file.sizeBytes !== priorFile.sizeBytes) return { file, action: 'copy', ...blocks }
  // An online backup begins with a checkpoint, so its pg_control is new, whatever the times say.
  if (online && file.name === CONTROL) return { file, action: 'copy' }
  const priorEntry = entryFromPrior(file, priorFile, holder)
  if (file.sizeBytes === 0) return { file, action: 'reference', priorEntry }
  if (delta) return { file, action: 'compare', priorEntry, ...blocks }
  return { file, action: file.timestamp === priorFile.timestamp ? 'reference' : 'copy', priorEntry, ...blocks }
}

/** How the content is stored comes from the prior, with what newer releases may say of it; the rest from the cluster. */
function entryFromPrior(file: ListedFile, priorFile: ManifestFile, holder: string): ManifestFile {
  const { sizeOriginalBytes: _, ...stored } = priorFile
  const { mode, user, group, timestamp } = file
  return { ...stored, mode, user, group, timestamp, reference: holder }
}

/** The first thing that makes file times worthless as proof that nothing changed, or undefined. */
function distrustOfTimes(
  files: readonly ListedFile[],
  prior: Manifest | undefined,
  priorFiles: ReadonlyMap<string, ManifestFile>,
  options: IncrementOptions,
): string | undefined {
  for (const file of files) {
    if (file.timestamp > options.timestampListed)
      return `file ${bytesToText(file.path)} has a time in the future (${file.timestamp})`
  }
  if (prior === undefined) return undefined
  const timelines = [options.archiveStart?.slice(0, 8), prior.archiveStop?.slice(0, 8)]
  if (timelines[0] !== undefined && timelines[1] !== undefined && timelines[0] !== timelines[1])
    return `the timeline has changed since backup ${prior.label}, as it does after a restore or a promotion`
  if (options.online !== prior.options.online)
    return `backup ${prior.label} was made ${prior.options.online ? 'online' : 'offline'} and this one is not`
  for (const file of files) {
    const priorFile = priorFiles.get(file.name)
    if (priorFile === undefined) continue
    if (file.timestamp < priorFile.timestamp)
      return `file ${bytesToText(file.path)} is older (${file.timestamp}) than in backup ${prior.label} (${priorFile.timestamp})`
    const sizeThen = priorFile.sizeOriginalBytes ?? priorFile.sizeBytes
    if (file.timestamp === priorFile.timestamp && file.sizeBytes !== sizeThen)
      return (
        `file ${bytesToText(file.path)} has the time it had in backup ${prior.label}, ` +
        `but ${file.sizeBytes} bytes instead of ${sizeThen}`
      )
  }
  return undefined
}
