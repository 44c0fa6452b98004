import type { Manifest, ManifestFile, ManifestLink, ManifestPath } from '../../format/manifest.ts'
import { bytes, compareBytes, type ByteString } from '../../util/byte-string.ts'
import { lazyList, type LazyList } from '../../util/lazy-list.ts'
import type { Layout } from './layout.ts'
import type { FoundEntry } from './file-system.ts'

/** How existing files are treated; both false means that the target must be empty. */
export interface ExistingFiles {
  readonly delta: boolean
  readonly force: boolean
  /** Both were switched off, because nothing confirms that the data directory contains a cluster. */
  readonly unconfirmed?: true
}

/**
 * The current content of the targets, by absolute path; directories before their content (scanTargets). Size and time
 * of a file are only used with delta and force together.
 */
export interface FoundEntries extends Iterable<readonly [ByteString, FoundEntry]> {
  get(path: ByteString): FoundEntry | undefined
  delete(path: ByteString): unknown
}

/**
 * The action for a file: `create` it, `check` the existing one by checksum, `rewrite` it, `keep` it unchanged, or
 * create it with its length but without content (`zero`).
 */
export type FileAction = 'create' | 'check' | 'rewrite' | 'keep' | 'zero'

export interface PlannedFile {
  readonly file: ManifestFile
  readonly path: ByteString
  readonly action: FileAction
}

export interface PlannedPath {
  readonly entry: ManifestPath
  readonly path: ByteString
  /** The existing directory, if there is one. */
  readonly found?: FoundEntry
}

export interface PlannedLink {
  readonly link: ManifestLink
  readonly path: ByteString
  readonly found?: FoundEntry
}

export interface RestorePlan {
  /** Entries that are not in the backup, or of another kind. A directory is removed with its content. */
  readonly remove: readonly { readonly path: ByteString; readonly kind: FoundEntry['kind'] }[]
  /** Parents before children. */
  readonly paths: readonly PlannedPath[]
  readonly links: readonly PlannedLink[]
  /** Largest first; includes pg_control under its temporary name. */
  readonly files: LazyList<PlannedFile>
  readonly sizeBytes: number
}

/** pg_control is written under this name and renamed last, so that an unfinished cluster cannot start. */
export const CONTROL_NAME = 'pg_data/global/pg_control'
export const CONTROL_TEMP_SUFFIX = '.pgbackrest.tmp'

/**
 * Plans the changes that make the targets equal to the manifest.
 *
 * @param manifest remapped, without the files that are not restored
 * @param found the files of the backup are deleted from it
 * @param isZeroed true if the content of this file is not restored
 */
export function planRestore(
  manifest: Manifest,
  layout: Layout,
  found: FoundEntries,
  existing: ExistingFiles,
  isZeroed: (fileName: string) => boolean = () => false,
): RestorePlan {
  const { files, sizeBytes } = planFiles(manifest, layout, found, existing, isZeroed)
  const paths = manifest.paths
    .filter((entry) => entry.name !== 'pg_tblspc')
    .sort((a, b) => compareBytes(a.name, b.name))
    .map((entry): PlannedPath => {
      const path = layout.physicalPath(entry.name)
      const there = found.get(path)
      return { entry, path, found: there?.kind === 'path' ? there : undefined }
    })
  const links = manifest.links.map((link): PlannedLink => {
    const path = layout.linkPath(link.name)
    const there = found.get(path)
    return { link, path, found: there?.destination === link.destination ? there : undefined }
  })

  const wantedPaths = new Set(paths.map(({ path }) => path))
  const wantedLinks = new Map(links.map(({ path, link }) => [path, link.destination]))
  const belongs = (path: ByteString, { kind, destination }: FoundEntry): boolean =>
    kind === 'link' ? wantedLinks.get(path) === destination : kind === 'path' && wantedPaths.has(path)
  const remove: { path: ByteString; kind: FoundEntry['kind'] }[] = []
  for (const [path, entry] of found) {
    // The content of a removed directory is removed with it.
    if (belongs(path, entry) || (path.startsWith(bytes`${remove.at(-1)?.path ?? ''}/`) && remove.length > 0)) continue
    remove.push({ path, kind: entry.kind })
  }

  return { remove, paths, links, files, sizeBytes }
}

/** The files as an action for each, and their order: a list of objects would take 300 bytes a file. */
function planFiles(
  manifest: Manifest,
  layout: Layout,
  found: FoundEntries,
  existing: ExistingFiles,
  isZeroed: (fileName: string) => boolean,
): Pick<RestorePlan, 'files' | 'sizeBytes'> {
  const { files } = manifest
  const actions = new Uint8Array(files.length)
  const sizes = new Float64Array(files.length)
  let sizeBytes = 0
  let index = 0
  for (const file of files) {
    const path = pathOf(file, layout)
    const there = found.get(path)
    // The files that remain are not in the backup.
    if (there?.kind === 'file') found.delete(path)
    actions[index] = ACTIONS.indexOf(isZeroed(file.name) ? 'zero' : actionFor(file, there, manifest, existing))
    sizes[index] = file.sizeBytes
    sizeBytes += file.sizeBytes
    index++
  }
  // The order of the positions is that of the names.
  const order = Uint32Array.from(sizes.keys()).sort((a, b) => sizes[b]! - sizes[a]! || a - b)
  const planned = (place: number): PlannedFile => {
    const position = order[place]!
    const file = files.at(position)!
    return new FileOfPlan(file, ACTIONS[actions[position]!]!, layout)
  }
  return { files: lazyList(files.length, planned), sizeBytes }
}

const ACTIONS: readonly FileAction[] = ['create', 'check', 'rewrite', 'keep', 'zero']

class FileOfPlan implements PlannedFile {
  readonly #layout: Layout
  constructor(
    readonly file: ManifestFile,
    readonly action: FileAction,
    layout: Layout,
  ) {
    this.#layout = layout
  }

  get path(): ByteString {
    return pathOf(this.file, this.#layout)
  }
}

function pathOf({ name }: ManifestFile, layout: Layout): ByteString {
  const path = layout.physicalPath(name)
  return name === CONTROL_NAME ? bytes`${path}${CONTROL_TEMP_SUFFIX}` : path
}

function actionFor(
  file: ManifestFile,
  found: FoundEntry | undefined,
  manifest: Manifest,
  existing: ExistingFiles,
): FileAction {
  if (found?.kind !== 'file' || file.name === CONTROL_NAME) return 'create'
  if (existing.delta && existing.force) {
    // Size and time are trusted, so a file that changed after the backup began copying must not be mistaken for
    // unchanged.
    const same = found.sizeBytes === file.sizeBytes && found.mtime === file.timestamp
    return same && found.mtime < manifest.timestampCopyStart ? 'keep' : 'rewrite'
  }
  return existing.delta ? 'check' : 'rewrite'
}
