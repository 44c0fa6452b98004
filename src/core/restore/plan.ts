import type { Manifest, ManifestFile, ManifestLink, ManifestPath } from '../../format/manifest.ts'
import { compareBytes } from '../../util/byte-string.ts'
import type { Layout } from './layout.ts'
import type { FoundEntry } from './file-system.ts'

/** How existing files are treated; both false means that the target must be empty. */
export interface ExistingFiles {
  readonly delta: boolean
  readonly force: boolean
  /** Both were switched off, because nothing confirms that the data directory is the one of a cluster. */
  readonly unconfirmed?: true
}

/** What is in the targets now, by absolute path; directories before what they hold (scanTargets). */
export type FoundEntries = ReadonlyMap<string, FoundEntry>

/**
 * What a file needs: `create` it, `check` what is there by checksum, `rewrite` it, `keep` it as it is, or create it again
 * with its length and nothing in it (`zero`).
 */
export type FileAction = 'create' | 'check' | 'rewrite' | 'keep' | 'zero'

export interface PlannedFile {
  readonly file: ManifestFile
  readonly path: string
  readonly action: FileAction
}

export interface PlannedPath {
  readonly entry: ManifestPath
  readonly path: string
  /** What is there, when it is a directory already. */
  readonly found?: FoundEntry
}

export interface PlannedLink {
  readonly link: ManifestLink
  readonly path: string
  readonly found?: FoundEntry
}

export interface RestorePlan {
  /** Not in the backup, or in it as something else. A directory is removed with its content. */
  readonly remove: readonly { readonly path: string; readonly kind: FoundEntry['kind'] }[]
  /** Parents before children. */
  readonly paths: readonly PlannedPath[]
  readonly links: readonly PlannedLink[]
  /** Largest first; pg_control is among them under its temporary name. */
  readonly files: readonly PlannedFile[]
  readonly sizeBytes: number
}

/** pg_control arrives under this name and gets its own last, so that an unfinished cluster cannot start. */
export const CONTROL_NAME = 'pg_data/global/pg_control'
export const CONTROL_TEMP_SUFFIX = '.pgbackrest.tmp'

/**
 * What has to happen to make the targets equal to the manifest.
 *
 * @param manifest remapped, without the files that are not restored
 * @param isZeroed is this file's content not wanted?
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
    if (file.name === CONTROL_NAME) return { file, path: path + CONTROL_TEMP_SUFFIX, action: 'create' }
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
  const belongs = (path: string, entry: FoundEntry): boolean => {
    if (entry.kind === 'special') return false
    return entry.kind === 'link' ? wanted.link.get(path) === entry.destination : wanted[entry.kind].has(path)
  }
  const remove: { path: string; kind: FoundEntry['kind'] }[] = []
  for (const [path, entry] of found) {
    // The content of a directory is removed with it.
    if (belongs(path, entry) || (path.startsWith(`${remove.at(-1)?.path ?? ''}/`) && remove.length > 0)) continue
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
    // Trusts size and time, so a file that changed after the backup began copying must not be taken for unchanged.
    const same = found.sizeBytes === file.sizeBytes && found.mtime === file.timestamp
    return same && found.mtime < manifest.timestampCopyStart ? 'keep' : 'rewrite'
  }
  // Of a file in blocks, those that are there already need not be fetched, however long it is now.
  const enough = file.blockMapSize === undefined ? file.sizeBytes : 1
  return existing.delta && found.sizeBytes >= enough ? 'check' : 'rewrite'
}
