import { bytes, parentOf, type ByteString } from '../../util/byte-string.ts'
import type { Manifest } from '../../format/manifest.ts'
import type { Layout } from './layout.ts'
import { listKinds, statEntry, type FoundEntry } from './file-system.ts'

/**
 * The current content of the places that a restore fills, by absolute path; a directory comes before its content. The
 * path of a target may be a link; links below it are listed, not followed. A directory that is not in the backup is
 * listed without its content, because it is removed as a whole.
 *
 * @param skip absolute paths that the restore does not touch
 * @param statFiles look at size and time of files; otherwise their entries contain the kind only
 */
export function scanTargets(
  manifest: Manifest,
  layout: Layout,
  skip: ReadonlySet<string>,
  statFiles: boolean,
): Map<ByteString, FoundEntry> {
  const found = new Map<ByteString, FoundEntry>()
  const wanted = new Set(
    manifest.paths.filter((entry) => entry.name !== 'pg_tblspc').map((entry) => layout.physicalPath(entry.name)),
  )
  const look = (path: ByteString, follow: boolean): void => {
    if (skip.has(path)) return
    const entry = statEntry(path, { follow })
    if (entry === undefined) return
    found.set(path, entry)
    if (entry.kind !== 'path' || !wanted.has(path)) return
    for (const { name, kind } of listKinds(path) ?? []) {
      const below = bytes`${path}/${name}`
      if (kind !== 'file' || statFiles) look(below, false)
      else if (!skip.has(below)) found.set(below, SOME_FILE)
    }
  }
  for (const place of layout.places) {
    if (place.kind === 'tablespace') {
      // The location of a tablespace may contain directories of other PostgreSQL versions: only ours is listed.
      const location = parentOf(place.path)
      const entry = statEntry(location, { follow: true })
      if (entry !== undefined) found.set(location, entry)
    }
    look(place.path, place.kind === 'data' || place.kind === 'directory')
  }
  return found
}

const SOME_FILE: FoundEntry = { kind: 'file', sizeBytes: 0, mtime: 0, mode: 0, uid: 0, gid: 0 }
