import { bytesToText, compareBytes } from '../../util/byte-string.ts'
import { manifestDefaults } from '../../format/manifest-check.ts'
import type { Manifest, ManifestFile, ManifestFiles, ManifestPath, WritableManifest } from '../../format/manifest.ts'
import type { ListedFile } from '../../postgres/data-directory.ts'
import { PgtsError } from '../../util/error.ts'
import type { LazyList } from '../../util/lazy-list.ts'
import type { StoredContent, CopiedFile } from './copy-job.ts'
import type { PlannedFile } from './increment.ts'
import { StoredContents } from './stored-contents.ts'
import type { Mutable } from '../../util/mutable.ts'

/** What is known of a backup at its start. */
export type DraftHead = Omit<
  Manifest,
  'files' | 'defaults' | 'archiveStop' | 'lsnStop' | 'timestampStop' | 'timestampCopyStart' | 'databases'
> & { readonly timestampCopyStart: number }

export interface BackupStop {
  readonly timestampStop: number
  readonly archiveStop?: string
  readonly lsnStop?: string
  readonly databases: Manifest['databases']
}

/** A manifest in progress: files are recorded as they arrive in the repository. */
export class ManifestDraft {
  readonly #head: DraftHead
  readonly #planned: LazyList<PlannedFile>
  readonly #lagsSince: number
  /** What became of each planned file, by index: a place in OUTCOMES. */
  readonly #outcomes: Uint8Array
  readonly #contents: StoredContents
  #vanished = 0
  readonly #added: ManifestFile[] = []

  /** @param lagsSince if data files are copied from a standby: start of the backup, seconds since the epoch */
  constructor(head: DraftHead, planned: LazyList<PlannedFile>, lagsSince = Infinity) {
    this.#head = head
    this.#planned = planned
    this.#lagsSince = lagsSince
    this.#outcomes = new Uint8Array(planned.length)
    this.#contents = new StoredContents(planned.length)
  }

  /** The data directory; files that the server returns get its owner and mode. */
  get pgData(): ManifestPath {
    const path = this.#head.paths.find(({ name }) => name === 'pg_data')
    if (path === undefined) throw new PgtsError('assert', 'the list of directories has no pg_data')
    return path
  }

  /**
   * Records the result of a file that was read.
   *
   * @param index of the planned file
   */
  record(index: number, copied: CopiedFile): void {
    const plan = this.#planned.at(index)
    if (plan === undefined) throw new PgtsError('assert', `copied file ${index}, which is not planned`)
    if (copied.outcome === 'unchanged' && plan.priorEntry === undefined)
      throw new PgtsError('assert', `${bytesToText(plan.file.name)} is reported as unchanged, but has no prior entry`)
    this.#outcomes[index] = OUTCOMES.indexOf(copied.outcome)
    if (copied.outcome === 'copied') this.#contents.set(index, copied)
    if (copied.outcome === 'vanished') this.#vanished++
  }

  /**
   * The entry of a planned file; undefined if the file was removed during the backup.
   *
   * A file that the primary wrote after the start has a time that the copy of the standby may not deserve. With an earlier
   * time it counts as changed in the next diff or incr, for pgbackrest as well.
   */
  entry(index: number): ManifestFile | undefined {
    const planned = this.#planned.at(index)!
    const entry = this.#entryOf(index, planned)
    if (entry === undefined || !planned.file.sizeLimited || entry.timestamp < this.#lagsSince) return entry
    return { ...entry, timestamp: this.#lagsSince - 1 }
  }

  #entryOf(index: number, { file, action, priorEntry, resumed }: PlannedFile): ManifestFile | undefined {
    switch (OUTCOMES[this.#outcomes[index]!]) {
      case 'vanished':
        return undefined
      case 'copied':
        return storedEntry(file, this.#contents.get(index))
      case 'emptied':
        return this.#emptyEntry(file)
      case 'unchanged':
        return priorEntry
    }
    if (action === 'reference' && priorEntry !== undefined) return priorEntry
    if (action === 'empty') return this.#emptyEntry(file)
    // Not read yet. If the backup is interrupted again, its manifest still lists what was stored before.
    return resumed ?? listedEntry(file)
  }

  #emptyEntry(file: ListedFile): ManifestFile {
    return emptyEntry(file, this.#head.options.checksumPage)
  }

  /**
   * Files with invalid pages, sorted: files that were read now, and files that this backup refers to in an earlier
   * backup.
   */
  damaged(): ManifestFile[] {
    const damaged: ManifestFile[] = []
    for (const entry of this.#entries()) if (entry.checksumPage === false) damaged.push(entry)
    return damaged
  }

  /** Adds a file that is not in the listing: backup_label, tablespace_map, WAL of archive-copy. */
  add(file: ManifestFile): void {
    this.#added.push(file)
  }

  /** Content of `backup.manifest.copy` while the backup runs; no command accepts it as a usable backup. */
  partial(): WritableManifest {
    return this.#build({ timestampStop: 0, databases: [] }, true)
  }

  complete(stop: BackupStop): WritableManifest {
    return this.#build(stop, false)
  }

  /** All entries, sorted by name as the planned files are. */
  *#entries(): Generator<ManifestFile> {
    const added = this.#added.toSorted(byName)
    let next = 0
    for (let index = 0; index < this.#planned.length; index++) {
      const entry = this.entry(index)
      if (entry === undefined) continue
      for (; next < added.length && byName(added[next]!, entry) < 0; next++) yield added[next]!
      yield entry
    }
    yield* added.slice(next)
  }

  #build(stop: BackupStop, partial: boolean): WritableManifest {
    const head = this.#head
    // Entries are made when they are written, and again for the totals: together they would take 30 MB for 100,000 files.
    const files: ManifestFiles = {
      length: this.#planned.length - this.#vanished + this.#added.length,
      [Symbol.iterator]: () => this.#entries(),
    }
    const { archiveStart, lsnStart, ...rest } = head
    return {
      ...rest,
      ...(partial ? { db: { ...head.db, historyId: 0, systemId: 0n } } : {}),
      archiveStart: partial ? undefined : archiveStart,
      lsnStart: partial ? undefined : lsnStart,
      archiveStop: stop.archiveStop,
      lsnStop: stop.lsnStop,
      timestampStop: stop.timestampStop,
      databases: stop.databases,
      files,
      defaults: manifestDefaults(this.pgData, head.links.length > 0),
    }
  }
}

/** `unread`: not read, or not yet. */
const OUTCOMES: readonly (CopiedFile['outcome'] | 'unread')[] = [
  'unread',
  'vanished',
  'copied',
  'emptied',
  'unchanged',
  'resumed',
]

const byName = (a: ManifestFile, b: ManifestFile) => compareBytes(a.name, b.name)

function listedEntry({ name, mode, user, group, timestamp, sizeBytes }: ListedFile): ManifestFile {
  return { name, mode, user, group, timestamp, sizeBytes }
}

/** If small files are bundled, nothing is stored for an empty file. */
function emptyEntry(file: ListedFile, checksumPage: boolean): ManifestFile {
  return {
    ...listedEntry(file),
    sizeBytes: 0,
    ...(file.sizeBytes === 0 ? {} : { sizeOriginalBytes: file.sizeBytes }),
    ...(checksumPage && file.pageChecksumApplies ? { checksumPage: true } : {}),
  }
}

function storedEntry(listed: ListedFile, copied: StoredContent): ManifestFile {
  const entry: Mutable<ManifestFile> = listedEntry(listed)
  entry.sizeBytes = copied.sizeBytes
  if (listed.sizeBytes !== copied.sizeBytes) entry.sizeOriginalBytes = listed.sizeBytes
  if (copied.sizeBytes > 0) entry.checksum = copied.checksum
  if (copied.repoSizeBytes !== copied.sizeBytes) entry.repoSizeBytes = copied.repoSizeBytes
  if (copied.repoChecksum !== undefined) entry.repoChecksum = copied.repoChecksum
  if (copied.bundle !== undefined) {
    entry.bundleId = copied.bundle.id
    entry.bundleOffset = copied.bundle.offset
  }
  if (copied.blocks !== undefined) {
    entry.blockSize = copied.blocks.blockSize
    entry.blockChecksumSize = copied.blocks.checksumSize
    entry.blockMapSize = copied.blocks.mapSizeBytes
  }
  if (copied.pages !== undefined) entry.checksumPage = copied.pages.valid
  if (copied.pages?.errors !== undefined) entry.checksumPageErrors = copied.pages.errors
  return entry
}
