import type { Manifest, ManifestFile, ManifestLink, ManifestPath } from '../../format/manifest.ts'
import { bytes, compareBytes, type ByteString } from '../../util/byte-string.ts'
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
export type FoundEntries = ReadonlyMap<ByteString, FoundEntry>

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
  readonly files: readonly PlannedFile[]
  readonly sizeBytes: number
}

/** pg_control is written under this name and renamed last, so that an unfinished cluster cannot start. */
export const CONTROL_NAME = 'pg_data/global/pg_control'
export const CONTROL_TEMP_SUFFIX = '.pgbackrest.tmp'

/**
 * Plans the changes that make the targets equal to the manifest.
 *
 * @param manifest remapped, without the files that are not restored
 * @param isZeroed true if the content of this file is not restored
 */
export function planRestore(
  manifest: Manifest,
  layout: Layout,
  found: FoundEntries,
  existing: ExistingFiles,
  isZeroed: (fileName: string) => boolean = () => false,
): RestorePlan {
  const files = manifest.files.map((file): PlannedFile => {
    const path = layout.physicalPath(file.name)
    if (file.name === CONTROL_NAME) return { file, path: bytes`${path}${CONTROL_TEMP_SUFFIX}`, action: 'create' }
    if (isZeroed(file.name)) return { file, path, action: 'zero' }
    return { file, path, action: actionFor(file, found.get(path), manifest, existing) }
  })
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

  const wanted = {
    file: new Set(files.map(({ path }) => path)),
    path: new Set(paths.map(({ path }) => path)),
    link: new Map(links.map(({ path, link }) => [path, link.destination])),
  }
  const belongs = (path: ByteString, entry: FoundEntry): boolean => {
    if (entry.kind === 'special') return false
    return entry.kind === 'link' ? wanted.link.get(path) === entry.destination : wanted[entry.kind].has(path)
  }
  const remove: { path: ByteString; kind: FoundEntry['kind'] }[] = []
  for (const [path, entry] of found) {
    // The content of a removed directory is removed with it.
    if (belongs(path, entry) || (path.startsWith(bytes`${remove.at(-1)?.path ?? ''}/`) && remove.length > 0)) continue
    remove.push({ path, kind: entry.kind })
  }

  files.sort((a, b) => b.file.sizeBytes - a.file.sizeBytes || compareBytes(a.file.name, b.file.name))
  return { remove, paths, links, files, sizeBytes: files.reduce((sum, { file }) => sum + file.sizeBytes, 0) }
}

function actionFor(
  file: ManifestFile,
  found: FoundEntry | undefined,
  manifest: Manifest,
  existing: ExistingFiles,
): FileAction {
  if (found?.kind !== 'file') return 'create'
  if (existing.delta && existing.force) {
    // Size and time are trusted, so a file that changed after the backup began copying must not be mistaken for
    // unchanged.
    const same = found.sizeBytes === file.sizeBytes && found.mtime === file.timestamp
    return same && found.mtime < manifest.timestampCopyStart ? 'keep' : 'rewrite'
  }
  return existing.delta ? 'check' : 'rewrite'
}
