import { asBytes, bytes, bytesToText, compareBytes, type ByteString } from '../util/byte-string.ts'
import { PgtsError } from '../util/error.ts'
import type { LazyList } from '../util/lazy-list.ts'
import type { Logger } from '../util/log.ts'
import type { ClusterEntry, ClusterFiles } from './cluster-access.ts'
import {
  ARCHIVE_STATUS,
  EMPTIED_DIRECTORIES,
  excludedRootFiles,
  hasDataPages,
  isExcludedRelationFile,
  isTemporary,
  unloggedRelations,
} from './exclusions.ts'
import { absoluteDestination, LinkCheck, splitDestination } from './link-check.ts'
import { ListedFiles, type ListedFile, type Owned } from './listed-files.ts'
import { tablespaceDirectory, walDirectory, xactDirectory, type PostgresVersion } from './versions.ts'

export type { ListedFile } from './listed-files.ts'

/**
 * All files, directories and links of a cluster that a backup includes, as plain data. Names are the repository's: `pg_data/...` and
 * `pg_tblspc/<oid>/PG_<version>_<catalog>/...`, byte strings, every list sorted by name.
 */
export interface DataDirectoryListing {
  readonly files: LazyList<ListedFile>
  readonly paths: readonly ListedPath[]
  readonly links: readonly ListedLink[]
  readonly targets: readonly ListedTarget[]
}

export interface ListedPath extends Owned {
  readonly name: ByteString
  readonly mode: number
}

export interface ListedLink extends Owned {
  readonly name: ByteString
  /** Exactly as readlink returned it. */
  readonly destination: ByteString
}

/** The data directory, a tablespace, or a link found in the data directory. */
export interface ListedTarget {
  readonly name: ByteString
  readonly type: 'path' | 'link'
  readonly path: ByteString
  /** Of a link to a file: last part of the destination. */
  readonly file?: ByteString
  /** Oid as a string. */
  readonly tablespaceId?: ByteString
  readonly tablespaceName?: ByteString
}

export interface ListOptions {
  readonly postgres: PostgresVersion
  /** Default: that of the version. */
  readonly catalogVersion?: number
  /** An online backup excludes WAL: it comes from the archive. */
  readonly online: boolean
  /** Names relative to the data directory; with a `/` at the end the directory is kept without its contents. */
  readonly exclude?: readonly string[]
  /** Oid to name, from the server; offline they are called `ts<oid>`. */
  readonly tablespaces?: ReadonlyMap<number, ByteString>
  readonly log: Logger
  readonly signal?: AbortSignal
}

/**
 * Walks the data directory and its tablespaces; links are followed one level. Entries that are removed during the walk
 * are left out: the WAL contains their removal.
 *
 * Errors: [073] no data directory, [069] an entry of pg_tblspc that is not a link, [070] a link to a link or to a directory
 * that is backed up already, [041] a dangling link, [053] or [098] permission denied.
 */
export async function listDataDirectory(
  files: ClusterFiles,
  pgPath: ByteString,
  options: ListOptions,
): Promise<DataDirectoryListing> {
  files.expectWalk?.(pgPath)
  const root = await files.stat(pgPath, { follow: true })
  if (root?.kind !== 'path') {
    throw new PgtsError(
      'path-missing',
      `data directory ${bytesToText(pgPath)} ${root === undefined ? 'is missing' : 'is not a directory'}`,
      {
        hints: ['compare pg1-path with `show data_directory` on the server'],
      },
    )
  }
  return new Walk(files, pgPath, options).run(root)
}

/** Absolute path of a listed file on the database host; it may pass through links. */
export function clusterPath(pgPath: ByteString, name: ByteString): ByteString {
  return name.startsWith(PG_TBLSPC) ? bytes`${pgPath}/${name}` : bytes`${pgPath}${name.slice(PG_DATA.length)}`
}

const PG_DATA = asBytes('pg_data')
const PG_TBLSPC = asBytes('pg_tblspc')
const TABLESPACE_LINKS = bytes`${PG_DATA}/${PG_TBLSPC}`
const GLOBAL = bytes`${PG_DATA}/global`
const CONTROL_FILE = bytes`${GLOBAL}/pg_control`

/** A directory in the walk, with both its names. */
interface Place {
  readonly name: string
  readonly path: ByteString
}

class Walk {
  readonly #files: ClusterFiles
  readonly #pgPath: ByteString
  readonly #options: ListOptions
  readonly #linkCheck: LinkCheck
  readonly #rootFiles: ReadonlySet<string>
  readonly #walName: string
  readonly #tablespaceDirectory: ByteString
  readonly #databaseDirectory: RegExp
  readonly #limited: readonly string[]
  readonly #excludeEntry = new Set<string>()
  readonly #excludeContent = new Set<string>()
  readonly #listing = {
    files: new ListedFiles(),
    paths: [] as ListedPath[],
    links: [] as ListedLink[],
    targets: [] as ListedTarget[],
  }

  constructor(files: ClusterFiles, pgPath: ByteString, options: ListOptions) {
    this.#files = files
    this.#pgPath = pgPath
    this.#options = options
    const { postgres } = options
    this.#linkCheck = new LinkCheck(pgPath)
    this.#rootFiles = excludedRootFiles(postgres)
    this.#walName = bytes`${PG_DATA}/${walDirectory(postgres)}`
    const directory = tablespaceDirectory(postgres, options.catalogVersion)
    this.#tablespaceDirectory = asBytes(directory)
    const tablespace = directory.replaceAll('.', '\\.')
    this.#databaseDirectory = new RegExp(`^(pg_data/(global|base/[0-9]+)|pg_tblspc/[0-9]+/${tablespace}/[0-9]+)$`)
    this.#limited = ['base', 'global', xactDirectory(postgres), 'pg_multixact'].map(
      (name) => bytes`${PG_DATA}/${name}/`,
    )
    for (const name of options.exclude ?? []) {
      if (name.endsWith('/')) this.#excludeContent.add(bytes`${PG_DATA}/${name.slice(0, -1)}`)
      else this.#excludeEntry.add(bytes`${PG_DATA}/${name}`)
    }
  }

  async run(root: ClusterEntry): Promise<DataDirectoryListing> {
    const { files, paths, links, targets } = this.#listing
    paths.push({ name: PG_DATA, mode: root.mode, user: root.user, group: root.group })
    targets.push({ name: PG_DATA, type: 'path', path: this.#pgPath })
    if (!(await this.#directory({ name: PG_DATA, path: this.#pgPath }))) {
      throw new PgtsError('path-missing', `data directory ${bytesToText(this.#pgPath)} is missing`)
    }
    files.sort()
    for (const list of [paths, links, targets]) list.sort((a, b) => compareBytes(a.name, b.name))
    return this.#listing
  }

  /** Contents of a directory; false if it was removed. */
  async #directory(place: Place): Promise<boolean> {
    this.#options.signal?.throwIfAborted()
    const entries = await this.#files.list(place.path)
    if (entries === undefined) return false
    const database = this.#databaseDirectory.test(place.name)
    const unlogged = database ? unloggedRelations(entries.names) : undefined
    for (const entry of entries) await this.#entry(place, entry, unlogged)
    return true
  }

  /** One entry; `unlogged` is given in database directories. */
  async #entry(place: Place, entry: ClusterEntry, unlogged: ReadonlySet<string> | undefined): Promise<void> {
    const { log } = this.#options
    const name = bytes`${place.name}/${entry.name}`
    const path = bytes`${place.path}/${entry.name}`
    if (isTemporary(entry.name)) return
    if (this.#excludeEntry.has(name)) {
      log.info(
        `exclude '${bytesToText(path)}' from backup using '${bytesToText(name.slice(PG_DATA.length + 1))}' exclusion`,
      )
      return
    }
    switch (entry.kind) {
      case 'path':
        return this.#path(place, entry, name, path)
      case 'file':
        return this.#file(place, entry, name, unlogged)
      case 'link':
        return this.#link(place, entry, name, path, unlogged)
      case 'special':
        log.warn(`exclude special file '${bytesToText(path)}' from backup`)
    }
  }

  async #path(place: Place, entry: ClusterEntry, name: ByteString, path: ByteString): Promise<void> {
    this.#expectLink(place, name)
    const listed: ListedPath = { name, mode: entry.mode, user: entry.user, group: entry.group }
    this.#listing.paths.push(listed)
    if (this.#excludeContent.has(name)) {
      const rule = bytesToText(bytes`${name.slice(PG_DATA.length + 1)}/`)
      this.#options.log.info(`exclude contents of '${bytesToText(path)}' from backup using '${rule}' exclusion`)
      return
    }
    if (place.name === PG_DATA && EMPTIED_DIRECTORIES.has(entry.name)) return
    if (this.#options.online && place.name === this.#walName && entry.name === ARCHIVE_STATUS) return
    const found = await this.#directory({ name, path })
    if (!found) this.#listing.paths.splice(this.#listing.paths.indexOf(listed), 1)
  }

  #file(place: Place, entry: ClusterEntry, name: ByteString, unlogged: ReadonlySet<string> | undefined): void {
    this.#expectLink(place, name)
    if (place.name === PG_DATA && this.#rootFiles.has(entry.name)) return
    if (this.#options.online && place.name === this.#walName) return
    if (unlogged !== undefined && isExcludedRelationFile(entry.name, unlogged)) return
    const control = name === CONTROL_FILE
    this.#listing.files.add({
      name,
      mode: entry.mode,
      user: entry.user,
      group: entry.group,
      sizeBytes: entry.sizeBytes,
      timestamp: entry.mtime,
      pageChecksumApplies: unlogged !== undefined && hasDataPages(entry.name, place.name === GLOBAL),
      sizeLimited:
        !control && (name.startsWith('pg_tblspc/') || this.#limited.some((directory) => name.startsWith(directory))),
    })
  }

  #expectLink(place: Place, name: ByteString): void {
    if (place.name !== TABLESPACE_LINKS) return
    throw new PgtsError('link-expected', `'${bytesToText(name)}' is not a link: pg_tblspc should contain only links`, {
      hints: ['tablespaces inside the data directory (allow_in_place_tablespaces) cannot be backed up'],
    })
  }

  async #link(
    place: Place,
    entry: ClusterEntry,
    name: ByteString,
    path: ByteString,
    unlogged: ReadonlySet<string> | undefined,
  ): Promise<void> {
    const destination = entry.destination ?? asBytes('')
    const absolute = absoluteDestination(destination, place.path)
    if (entry.destinationKind === 'link') {
      throw new PgtsError(
        'link-destination',
        `link '${bytesToText(path)}' points to another link '${bytesToText(absolute)}'`,
        { hints: ['let the link point to the final destination'] },
      )
    }
    if (place.name === TABLESPACE_LINKS) return this.#tablespace(entry, name, path, destination, absolute)

    const followed = await this.#follow(path, absolute)
    if (followed === undefined) return
    this.#addLink(entry, name, destination)
    if (followed.kind === 'path') {
      this.#linkCheck.add(name.slice(PG_DATA.length + 1), absolute)
      this.#listing.targets.push({ name, type: 'link', path: destination })
    } else {
      const parts = splitDestination(destination)
      const directory = absoluteDestination(parts.path, place.path)
      this.#linkCheck.add(name.slice(PG_DATA.length + 1), directory, parts.file)
      this.#listing.targets.push({ name, type: 'link', path: parts.path, file: parts.file })
    }
    // The destination is listed under the link's own name.
    await this.#entry(place, { ...followed, name: entry.name }, unlogged)
  }

  /** A tablespace has one directory for each cluster that uses it; only that of this cluster is walked. */
  async #tablespace(
    entry: ClusterEntry,
    name: ByteString,
    path: ByteString,
    destination: ByteString,
    absolute: ByteString,
  ): Promise<void> {
    const target = bytes`${PG_TBLSPC}/${entry.name}`
    const directory = this.#tablespaceDirectory
    const ours = { name: bytes`${target}/${directory}`, path: bytes`${path}/${directory}` }
    const followed = await this.#follow(path, absolute)
    const inside = followed === undefined ? undefined : await this.#files.stat(ours.path)
    if (followed === undefined) return
    if (inside?.kind !== 'path') {
      if ((await this.#files.stat(path)) === undefined) return
      throw new PgtsError('file-open', `tablespace ${bytesToText(path)} has no directory ${bytesToText(directory)}`, {
        hints: ['check that the file system of the tablespace is mounted'],
      })
    }
    this.#addLink(entry, name, destination)
    this.#linkCheck.add(target, absolute)
    this.#listing.targets.push({
      name: target,
      type: 'link',
      path: destination,
      tablespaceId: entry.name,
      tablespaceName: this.#options.tablespaces?.get(Number(entry.name)) ?? bytes`ts${entry.name}`,
    })
    // Restore looks up an entry for each target, so two directories that exist only in the repository are listed.
    const [base, parent] = [this.#pathEntry(PG_DATA), this.#pathEntry(TABLESPACE_LINKS)]
    if (!this.#listing.paths.some((listed) => listed.name === PG_TBLSPC))
      this.#listing.paths.push({ ...base, name: PG_TBLSPC })
    this.#listing.paths.push({ ...parent, name: target })
    await this.#path({ name: target, path }, { ...inside, name: directory }, ours.name, ours.path)
  }

  #pathEntry(name: ByteString): ListedPath {
    const listed = this.#listing.paths.find((listed) => listed.name === name)
    if (listed === undefined) throw new PgtsError('assert', `${bytesToText(name)} was not listed before its contents`)
    return listed
  }

  #addLink(entry: ClusterEntry, name: ByteString, destination: ByteString): void {
    this.#listing.links.push({ name, user: entry.user, group: entry.group, destination })
  }

  /** The destination of a link; undefined if the link was removed (its tablespace was dropped). */
  async #follow(path: ByteString, absolute: ByteString): Promise<ClusterEntry | undefined> {
    const followed = await this.#files.stat(path, { follow: true })
    if (followed !== undefined) return followed
    if ((await this.#files.stat(path)) === undefined) return undefined
    throw new PgtsError(
      'file-open',
      `link '${bytesToText(path)}' points to '${bytesToText(absolute)}', which does not exist`,
      {
        hints: [
          'remove the link, or add it to the option exclude',
          'check that the file system of its destination is mounted',
        ],
      },
    )
  }
}
