import { bytesToText, compareBytes } from '../../util/byte-string.ts'
import { manifestDefaults } from '../../format/manifest-check.ts'
import { type Manifest, type ManifestFile, type ManifestPath } from '../../format/manifest.ts'
import type { ListedFile } from '../../postgres/data-directory.ts'
import { PgtsError } from '../../util/error.ts'
import type { StoredContent, CopiedFile } from './copy-job.ts'
import type { PlannedFile } from './increment.ts'

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
  readonly #planned: ReadonlyMap<string, PlannedFile>
  readonly #files = new Map<string, ManifestFile>()

  constructor(head: DraftHead, planned: readonly PlannedFile[]) {
    this.#head = head
    this.#planned = new Map(planned.map((plan) => [plan.file.name, plan]))
    for (const { file, action, priorEntry, resumed } of planned) {
      if (action === 'reference' && priorEntry !== undefined) this.#files.set(file.name, priorEntry)
      else if (action === 'empty') this.#files.set(file.name, emptyEntry(file, head.options.checksumPage))
      // If the backup is interrupted again, its manifest still lists what was stored before.
      else this.#files.set(file.name, resumed ?? listedEntry(file))
    }
  }

  /** The data directory; files that the server returns get its owner and mode. */
  get pgData(): ManifestPath {
    const path = this.#head.paths.find(({ name }) => name === 'pg_data')
    if (path === undefined) throw new PgtsError('assert', 'the list of directories has no pg_data')
    return path
  }

  /** Records the result of a file that was read. */
  record(copied: CopiedFile): void {
    const plan = this.#planned.get(copied.name)
    if (plan === undefined)
      throw new PgtsError('assert', `copied a file that is not listed: ${bytesToText(copied.name)}`)
    if (copied.outcome === 'vanished') {
      this.#files.delete(copied.name)
      return
    }
    const entry = this.#entryOf(plan, copied)
    this.#files.set(entry.name, entry)
  }

  #entryOf(plan: PlannedFile, copied: Exclude<CopiedFile, { outcome: 'vanished' }>): ManifestFile {
    if (copied.outcome === 'copied') return storedEntry(plan.file, copied)
    if (copied.outcome === 'emptied') return emptyEntry(plan.file, this.#head.options.checksumPage)
    if (copied.outcome === 'resumed' && plan.resumed !== undefined) return plan.resumed
    if (plan.priorEntry === undefined)
      throw new PgtsError('assert', `${bytesToText(copied.name)} is reported as unchanged, but has no prior entry`)
    return plan.priorEntry
  }

  entry(name: string): ManifestFile | undefined {
    return this.#files.get(name)
  }

  /**
   * Files with invalid pages, sorted: files that were read now, and files that this backup refers to in an earlier
   * backup.
   */
  damaged(): ManifestFile[] {
    const damaged = [...this.#files.values()].filter(({ checksumPage }) => checksumPage === false)
    return damaged.sort((a, b) => compareBytes(a.name, b.name))
  }

  /** Adds a file that is not in the listing: backup_label, tablespace_map, WAL of archive-copy. */
  add(file: ManifestFile): void {
    this.#files.set(file.name, file)
  }

  /** Content of `backup.manifest.copy` while the backup runs; no command accepts it as a usable backup. */
  partial(): Manifest {
    return this.#build({ timestampStop: 0, databases: [] }, true)
  }

  complete(stop: BackupStop): Manifest {
    return this.#build(stop, false)
  }

  #build(stop: BackupStop, partial: boolean): Manifest {
    const head = this.#head
    const files = [...this.#files.values()].sort((a, b) => compareBytes(a.name, b.name))
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
  return {
    ...listedEntry(listed),
    sizeBytes: copied.sizeBytes,
    ...(listed.sizeBytes !== copied.sizeBytes ? { sizeOriginalBytes: listed.sizeBytes } : {}),
    ...(copied.sizeBytes > 0 ? { checksum: copied.checksum } : {}),
    ...(copied.repoSizeBytes !== copied.sizeBytes ? { repoSizeBytes: copied.repoSizeBytes } : {}),
    ...(copied.repoChecksum !== undefined ? { repoChecksum: copied.repoChecksum } : {}),
    ...(copied.bundle === undefined ? {} : { bundleId: copied.bundle.id, bundleOffset: copied.bundle.offset }),
    ...(copied.blocks === undefined
      ? {}
      : {
          blockSize: copied.blocks.blockSize,
          blockChecksumSize: copied.blocks.checksumSize,
          blockMapSize: copied.blocks.mapSizeBytes,
        }),
    ...(copied.pages !== undefined ? { checksumPage: copied.pages.valid } : {}),
    ...(copied.pages?.errors !== undefined ? { checksumPageErrors: copied.pages.errors } : {}),
  }
}
