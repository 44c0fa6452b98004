import type { Manifest, ManifestFile } from '../../format/manifest.ts'
import type { ListedFile } from '../../postgres/data-directory.ts'
import { bytesToText } from '../../util/byte-string.ts'

/**
 * What becomes of one file of the cluster.
 *  - `empty`: it has no content; only the manifest speaks of it
 *  - `reference`: size and time say that it is what the prior backup has
 *  - `compare`: it is read and hashed first, and copied only when it differs from the prior
 *  - `copy`: it is copied
 */
export interface PlannedFile {
  readonly file: ListedFile
  readonly action: 'empty' | 'reference' | 'compare' | 'copy'
  /**
   * The manifest entry when the content is what the prior backup has: the prior's storage, today's owner, mode and time.
   * Present whenever the sizes are equal, because a file that was touched may hold what it held before.
   */
  readonly inherited?: ManifestFile
  /** The prior's entry when it is stored as blocks that a new block map may continue. `reference` is always set. */
  readonly priorBlocks?: ManifestFile
  /** The entry when an interrupted backup has stored it already, which is to be proven. */
  readonly resumed?: ManifestFile
}

export interface IncrementOptions {
  /** Asked for by the user: compare by checksum. */
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
  /** Are files compared by checksum because times are not asked for or cannot be trusted? */
  readonly delta: boolean
  /** Why delta was switched on although nobody asked for it: a sentence for the operator. */
  readonly deltaReason?: string
}

/**
 * Which files does a backup copy, and which does it take from the prior backup?
 *
 * @param prior manifest of the backup to build on; undefined for a full
 * @see docs/format/manifest.md, which files a diff or incr copies
 */
export function planIncrement(
  files: readonly ListedFile[],
  prior: Manifest | undefined,
  options: IncrementOptions,
): Increment {
  const before = new Map(prior?.files.map((file) => [file.name, file]))
  const deltaReason = options.delta ? undefined : distrustOfTimes(files, prior, before, options)
  const delta = options.delta || deltaReason !== undefined
  const planned = files.map((file): PlannedFile => {
    if (file.sizeBytes === 0 && options.bundle) return { file, action: 'empty' }
    const known = before.get(file.name)
    if (prior === undefined || known === undefined) return { file, action: 'copy' }
    return planFile(file, known, { label: prior.label, delta, online: options.online })
  })
  return { files: planned, delta, deltaReason }
}

const CONTROL = 'pg_data/global/pg_control'

function planFile(
  file: ListedFile,
  known: ManifestFile,
  { label, delta, online }: { label: string; delta: boolean; online: boolean },
): PlannedFile {
  const holder = known.reference ?? label
  const blocks =
    known.blockMapSize !== undefined && file.sizeBytes >= (known.blockSize ?? Infinity)
      ? { priorBlocks: { ...known, reference: holder } }
      : {}
  if (file.sizeBytes !== known.sizeBytes) return { file, action: 'copy', ...blocks }
  // An online backup begins with a checkpoint, so its pg_control is new, whatever the times say.
  if (online && file.name === CONTROL) return { file, action: 'copy' }
  const inherited = inherit(file, known, holder)
  if (file.sizeBytes === 0) return { file, action: 'reference', inherited }
  if (delta) return { file, action: 'compare', inherited, ...blocks }
  return { file, action: file.timestamp === known.timestamp ? 'reference' : 'copy', inherited, ...blocks }
}

/** How the content is stored comes from the prior, with what newer releases may say of it; the rest from the cluster. */
function inherit(file: ListedFile, known: ManifestFile, holder: string): ManifestFile {
  const { sizeOriginalBytes: _, ...stored } = known
  const { mode, user, group, timestamp } = file
  return { ...stored, mode, user, group, timestamp, reference: holder }
}

/** The first thing that makes file times worthless as proof that nothing changed, or undefined. */
function distrustOfTimes(
  files: readonly ListedFile[],
  prior: Manifest | undefined,
  before: ReadonlyMap<string, ManifestFile>,
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
    const known = before.get(file.name)
    if (known === undefined) continue
    if (file.timestamp < known.timestamp)
      return `file ${bytesToText(file.path)} is older (${file.timestamp}) than in backup ${prior.label} (${known.timestamp})`
    const sizeThen = known.sizeOriginalBytes ?? known.sizeBytes
    if (file.timestamp === known.timestamp && file.sizeBytes !== sizeThen)
      return (
        `file ${bytesToText(file.path)} has the time it had in backup ${prior.label}, ` +
        `but ${file.sizeBytes} bytes instead of ${sizeThen}`
      )
  }
  return undefined
}
