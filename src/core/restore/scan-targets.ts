import { bytes, parentOf, type ByteString } from '../../util/byte-string.ts'
import type { Manifest } from '../../format/manifest.ts'
import type { Layout } from './layout.ts'
import type { FoundEntries } from './plan.ts'
import { readKinds, statEntry, type FoundEntry } from './file-system.ts'

/** The current content of the places that a restore fills, by absolute path; a directory comes before its content. */
export class FoundTree implements FoundEntries {
  readonly #entries = new Map<ByteString, FoundEntry>()
  /** Names of files by their directory, which is among the entries: an entry for each file would take 150 bytes. */
  readonly #files = new Map<ByteString, Set<ByteString>>()

  get(path: ByteString): FoundEntry | undefined {
    return this.#namesBeside(path)?.has(nameOf(path)) === true ? SOME_FILE : this.#entries.get(path)
  }

  delete(path: ByteString): void {
    if (this.#namesBeside(path)?.delete(nameOf(path)) !== true) this.#entries.delete(path)
  }

  add(path: ByteString, entry: FoundEntry): void {
    this.#entries.set(path, entry)
  }

  /** Adds a file of which only the name is known. */
  addFile(directory: ByteString, name: ByteString): void {
    const names = this.#files.get(directory)
    if (names === undefined) this.#files.set(directory, new Set([name]))
    else names.add(name)
  }

  *[Symbol.iterator](): Generator<readonly [ByteString, FoundEntry]> {
    for (const [path, entry] of this.#entries) {
      yield [path, entry]
      for (const name of [...(this.#files.get(path) ?? [])].sort()) yield [bytes`${path}/${name}`, SOME_FILE]
    }
  }

  #namesBeside(path: ByteString): Set<ByteString> | undefined {
    return this.#files.get(path.slice(0, path.lastIndexOf('/')))
  }
}

function nameOf(path: ByteString): ByteString {
  return path.slice(path.lastIndexOf('/') + 1)
}

/**
 * Looks at the places that a restore fills. A directory comes before its content. The path of a target may be a link;
 * links below it are listed, not followed. A directory that is not in the backup is listed without its content, because
 * it is removed as a whole.
 *
 * @param skip absolute paths that the restore does not touch
 * @param statFiles look at size and time of files; otherwise their entries contain the kind only
 */
export function scanTargets(
  manifest: Manifest,
  layout: Layout,
  skip: ReadonlySet<string>,
  statFiles: boolean,
): FoundTree {
  const found = new FoundTree()
  const wanted = new Set(
    manifest.paths.filter((entry) => entry.name !== 'pg_tblspc').map((entry) => layout.physicalPath(entry.name)),
  )
  const look = (path: ByteString, follow: boolean): void => {
    if (skip.has(path)) return
    const entry = statEntry(path, { follow })
    if (entry === undefined) return
    found.add(path, entry)
    if (entry.kind !== 'path' || !wanted.has(path)) return
    const others: ByteString[] = []
    for (const { name, kind } of readKinds(path)) {
      const below = bytes`${path}/${name}`
      if (kind !== 'file' || statFiles) others.push(below)
      else if (!skip.has(below)) found.addFile(path, name)
    }
    for (const below of others.sort()) look(below, false)
  }
  for (const place of layout.places) {
    if (place.kind === 'tablespace') {
      // The location of a tablespace may contain directories of other PostgreSQL versions: only ours is listed.
      const location = parentOf(place.path)
      const entry = statEntry(location, { follow: true })
      if (entry !== undefined) found.add(location, entry)
    }
    look(place.path, place.kind === 'data' || place.kind === 'directory')
  }
  return found
}

const SOME_FILE: FoundEntry = { kind: 'file', sizeBytes: 0, mtime: 0, mode: 0, uid: 0, gid: 0 }
