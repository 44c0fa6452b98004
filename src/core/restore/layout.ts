import { posix } from 'node:path'
import type { Manifest, ManifestTarget } from '../../format/manifest.ts'
import { asBytes, bytes, bytesToText, parentOf, type ByteString } from '../../util/byte-string.ts'
import { hasFile, tablespaceVersionDirectory } from '../../format/manifest-names.ts'
import { PgtsError } from '../../util/error.ts'

/** A place that a restore fills: the data directory, the version directory of a tablespace, or the target of a link. */
export interface Place {
  /** Manifest name of the entry at `path`: `pg_data`, `pg_tblspc/16384/PG_15_202209061`, `pg_data/pg_wal`. */
  readonly name: ByteString
  /** Absolute. For a file link the path of the file. */
  readonly path: ByteString
  readonly kind: 'data' | 'tablespace' | 'directory' | 'file'
}

/** The location on this host of every name of a (remapped) manifest. */
export interface Layout {
  readonly pgPath: ByteString
  /** The data directory first. */
  readonly places: readonly Place[]
  /** Absolute path of a file or directory, without a symbolic link below a place. */
  physicalPath(name: ByteString): ByteString
  /** Absolute path of the symbolic link itself. */
  linkPath(name: ByteString): ByteString
}

/**
 * Throws `link-destination` if two places overlap: cleaning one would destroy the other.
 *
 * @param realPath resolves the links in a path, so that two paths of one directory are recognised
 */
export function layOut(manifest: Manifest, realPath: (path: ByteString) => ByteString = (path) => path): Layout {
  const data = manifest.targets.find((target) => target.name === 'pg_data')
  if (data === undefined || !data.path.startsWith('/')) {
    throw new PgtsError('format', `manifest of backup ${manifest.label} has no absolute data directory`)
  }
  const pgPath = asBytes(posix.normalize(data.path)).replace(/(.)\/+$/, '$1')
  const tablespaceDirectory = tablespaceVersionDirectory(manifest)

  const roots = new Map<string, string>([['pg_data', pgPath]])
  const places: Place[] = [{ name: asBytes('pg_data'), path: pgPath, kind: 'data' }]
  const resolveIn = (name: ByteString): ByteString => {
    // Find the longest prefix that is a root. Parents of links come before the links, because names are sorted.
    for (let end = name.length; end > 0; end = name.lastIndexOf('/', end - 1)) {
      const root = roots.get(name.slice(0, end))
      if (root !== undefined) return bytes`${root}${name.slice(end)}`
    }
    throw new PgtsError(
      'format',
      `manifest of backup ${manifest.label} names '${bytesToText(name)}', which is not in any of its targets`,
    )
  }
  const linkPath = (name: ByteString): ByteString => {
    const slash = name.lastIndexOf('/')
    return bytes`${resolveIn(name.slice(0, slash))}${name.slice(slash)}`
  }

  for (const target of manifest.targets) {
    if (target.name === 'pg_data') continue
    if (target.tablespaceId !== undefined) {
      const path = absolute(pgPath, target.path)
      roots.set(target.name, path)
      places.push({
        name: bytes`${target.name}/${tablespaceDirectory}`,
        path: bytes`${path}/${tablespaceDirectory}`,
        kind: 'tablespace',
      })
    } else {
      const directory = absolute(parentOf(linkPath(target.name)), target.path)
      const path = target.file === undefined ? directory : bytes`${directory}/${target.file}`
      roots.set(target.name, path)
      // A link to a special file such as a socket has no content in the backup.
      const isFilled = target.file === undefined || hasFile(manifest, target.name)
      if (isFilled) places.push({ name: target.name, path, kind: target.file === undefined ? 'directory' : 'file' })
    }
  }
  assertApart(
    places.map((place) => ({ ...place, path: realPath(place.path) })),
    manifest.targets,
  )
  return { pgPath, places, physicalPath: resolveIn, linkPath }
}

function absolute(base: ByteString, path: ByteString): ByteString {
  return asBytes(posix.resolve(base, path))
}

/**
 * No place may be inside another one, because each is cleaned separately. Several files in one directory are allowed.
 */
function assertApart(places: readonly Place[], targets: readonly ManifestTarget[]): void {
  const shown = (place: Place) => {
    const target = targets.find(
      (candidate) => place.name === candidate.name || place.name.startsWith(bytes`${candidate.name}/PG_`),
    )
    return target?.tablespaceName === undefined
      ? `link '${bytesToText(place.name)}'`
      : `tablespace '${bytesToText(target.tablespaceName)}'`
  }
  const hints = ['choose other destinations with tablespace-map or link-map']
  for (const [index, place] of places.entries()) {
    for (const other of places.slice(0, index)) {
      if (place.path === other.path) {
        throw new PgtsError(
          'link-destination',
          `${shown(place)} has the same destination as ${other.kind === 'data' ? 'the data directory' : shown(other)}: ${bytesToText(place.path)}`,
          { hints },
        )
      }
      const inner = place.path.startsWith(bytes`${other.path}/`)
        ? place
        : other.path.startsWith(bytes`${place.path}/`)
          ? other
          : undefined
      if (inner === undefined) continue
      const outer = inner === place ? other : place
      throw new PgtsError(
        'link-destination',
        inner.kind === 'data'
          ? `${shown(outer)} has the destination '${bytesToText(outer.path)}', which contains the data directory`
          : `${shown(inner)} has the destination '${bytesToText(inner.path)}', which is in ${outer.kind === 'data' ? 'the data directory' : bytesToText(outer.path)}`,
        { hints },
      )
    }
  }
}
