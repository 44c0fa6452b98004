import { posix } from 'node:path'
import { bytes, bytesToText, type ByteString } from '../util/byte-string.ts'
import type { Manifest, ManifestLink, ManifestTarget } from './manifest.ts'

/** Limits of Linux, bytes: a longer name cannot exist in a data directory. */
const NAME_MAX = 255
const PATH_MAX = 4095

/** Names that a restore creates in the data directory and removes at its end. */
const OWN_NAMES = new Set(['pg_data/backup.manifest', 'pg_data/global/pg_control.pgbackrest.tmp'])

/**
 * True if a name of a manifest is safe: `pg_data`, or below `pg_data` or `pg_tblspc`, with no component that is empty,
 * `.`, `..` or too long. Any other name could make a restore write outside its target.
 */
export function isSafeManifestName(name: string): boolean {
  if (!name.startsWith('pg_data') && !name.startsWith('pg_tblspc')) return false
  const after = name[name.startsWith('pg_data') ? 7 : 9]
  if (after !== undefined && after !== '/') return false
  if (name.length > NAME_MAX && (name.length > PATH_MAX || TOO_LONG.test(name))) return false
  return !name.endsWith('/') && !UNSAFE.test(name)
}

const UNSAFE = /\/\/|\/\.\.?(?:\/|$)|\0/
const TOO_LONG = new RegExp(`[^/]{${NAME_MAX + 1}}`)

/** `PG_15_202209061`: the only directory of a tablespace that belongs to the cluster of this backup. */
export function tablespaceVersionDirectory({ db }: Pick<Manifest, 'db'>): string {
  return `PG_${db.version}_${db.catalogVersion}`
}

/** True if the manifest has a file of this name. */
export function hasFile({ files }: Pick<Manifest, 'files'>, wanted: ByteString): boolean {
  for (const { name } of files) if (name === wanted) return true
  return false
}

/**
 * Checks all names of a manifest together. Each name is safe on its own (`isSafeManifestName`); here they must form one
 * tree, in which no name passes through a link and each link leads to its target:
 *  - every path, file and link is in a path of the backup; no name has two kinds, except that a link to a directory is
 *    also a path and a link to a file is also a file
 *  - `pg_tblspc/OID` is the target of one tablespace, and everything below it is in the directory of the backup's
 *    version
 *  - `pg_data/pg_tblspc` contains only links to tablespaces
 *  - links and targets come in pairs; the destination of a link is the path of its target, with the file name of the
 *    target appended if it has one
 *  - no name is created by a restore itself
 */
export function* nameProblems(manifest: Manifest): Generator<string> {
  yield* targetProblems(manifest)
  yield* treeProblems(manifest)
  yield* linkProblems(manifest)
}

function* treeProblems(manifest: Manifest): Generator<string> {
  const paths = new Set(manifest.paths.map(({ name }) => name))
  const links = new Set(manifest.links.map(({ name }) => name))
  const targets = new Map(manifest.targets.map((target) => [target.name, target]))
  const version = tablespaceVersionDirectory(manifest)
  if (!paths.has('pg_data')) yield 'path pg_data is missing'

  // Files are sorted by name, so most are in the directory of the previous one.
  let known = ''
  const inPath = (name: ByteString): boolean => {
    const end = name.lastIndexOf('/')
    if (end === known.length && name.startsWith(known)) return true
    const parent = name.slice(0, Math.max(end, 0))
    if (!paths.has(parent)) return false
    known = parent
    return true
  }
  const place = (name: ByteString, kind: 'path' | 'file' | 'link'): string | undefined => {
    if (name !== 'pg_data' && name !== 'pg_tblspc' && !inPath(name)) return 'is in no directory of the backup'
    if (OWN_NAMES.has(name)) return 'is a name that restore uses itself'
    if (name.startsWith('pg_data/pg_tblspc/') && (kind !== 'link' || !LINK_OF_TABLESPACE.test(name))) {
      return 'is not a link to a tablespace, but pg_tblspc may only contain such links'
    }
    if (!name.startsWith('pg_tblspc') || (kind === 'path' && name === 'pg_tblspc')) return undefined
    const [, oid = '', directory, ...rest] = name.split('/')
    if (targets.get(bytes`pg_tblspc/${oid}`)?.tablespaceId !== oid) return 'is in no tablespace of the backup'
    if (directory === undefined) return kind === 'path' ? undefined : 'has the name of a tablespace'
    if (directory !== version) return `is outside ${version}, the directory of this cluster in the tablespace`
    return kind === 'path' || rest.length > 0 ? undefined : `has the name of the directory ${version}`
  }

  for (const { name } of manifest.paths) {
    const why = place(name, 'path')
    if (why !== undefined) yield `${shown(name)} ${why}`
  }
  for (const { name } of manifest.links) {
    const why = place(name, 'link')
    if (why !== undefined) yield `${shown(name)} ${why}`
    if (paths.has(name) && targets.get(name)?.file !== undefined)
      yield `${shown(name)} is a directory and a link to a file`
  }
  for (const { name } of manifest.files) {
    const why = place(name, 'file')
    if (why !== undefined) yield `${shown(name)} ${why}`
    if (paths.has(name)) yield `${shown(name)} is a file and a directory`
    if (links.has(name) && targets.get(name)?.file === undefined)
      yield `${shown(name)} is a file and a link to a directory`
  }
}

const LINK_OF_TABLESPACE = /^pg_data\/pg_tblspc\/[1-9][0-9]{0,9}$/

function* targetProblems({ targets, paths, links }: Manifest): Generator<string> {
  const linked = new Set(links.map(({ name }) => name))
  const isPath = new Set(paths.map(({ name }) => name))
  if (!targets.some(({ name }) => name === 'pg_data')) yield 'target pg_data is missing'
  for (const target of targets) {
    const { name, type, path, file, tablespaceId } = target
    const what = `target ${shown(name)}`
    if ((type === 'path') !== (name === 'pg_data')) yield `${what} has the type ${type}`
    if (!isPlace(path)) yield `${what} has no usable path`
    if (file !== undefined && !isComponent(file)) yield `${what} has the file name '${shown(file)}'`
    if (type === 'path') continue
    if (tablespaceId !== undefined) yield* tablespaceProblems(target, tablespaceId)
    else if (/^pg_tblspc(?:\/[^/]*)?$/.test(name)) yield `${what} has no tablespace-id`
    // Without a path, the target directory of the link would be treated as not part of the backup.
    else if (file === undefined && !isPath.has(name)) yield `${what} is not a directory of the backup`
    if (!linked.has(tablespaceId === undefined ? name : bytes`pg_data/${name}`)) yield `${what} has no link`
  }
}

function* tablespaceProblems({ name, path, file, tablespaceName }: ManifestTarget, id: ByteString): Generator<string> {
  const what = `target ${shown(name)}`
  if (name !== bytes`pg_tblspc/${id}` || !isOid(id)) yield `${what} has the tablespace id '${shown(id)}'`
  if (file !== undefined) yield `${what} is a tablespace and a file`
  if (!path.startsWith('/')) yield `${what} has a relative location`
  if (tablespaceName !== undefined && !/^[^\0]{1,255}$/s.test(tablespaceName)) yield `${what} has no usable name`
}

function* linkProblems({ links, targets }: Manifest): Generator<string> {
  const byName = new Map(targets.map((target) => [target.name, target]))
  for (const link of links) {
    const { name, destination } = link
    const target = byName.get(LINK_OF_TABLESPACE.test(name) ? name.slice('pg_data/'.length) : name)
    if (target === undefined || target.type !== 'link') yield `link ${shown(name)} has no target`
    else if (!isPlace(destination)) yield `link ${shown(name)} has no usable destination`
    else if (!leadsTo(link, target)) {
      const path = target.file === undefined ? target.path : bytes`${target.path}/${target.file}`
      yield `link ${shown(name)} points to '${shown(destination)}', but its target is '${shown(path)}'`
    }
  }
}

/** Both are results of readlink: relative or absolute, and equal except for slashes. */
function leadsTo({ destination }: ManifestLink, { path, file }: ManifestTarget): boolean {
  const plain = (text: string) => posix.normalize(text).replace(/(.)\/$/, '$1')
  return plain(destination) === plain(file === undefined ? path : bytes`${path}/${file}`)
}

function isPlace(path: string): boolean {
  return path !== '' && path.length <= PATH_MAX && !path.includes('\0') && !TOO_LONG.test(path)
}

function isComponent(part: string): boolean {
  return part !== '' && part !== '.' && part !== '..' && !/[/\0]/.test(part) && part.length <= NAME_MAX
}

/** Oid of a tablespace: an unsigned 32-bit number. */
function isOid(text: string): boolean {
  return /^[1-9][0-9]{0,9}$/.test(text) && Number(text) < 2 ** 32
}

const shown = bytesToText
