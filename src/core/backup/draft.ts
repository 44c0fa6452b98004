import { compareBytes } from '../../util/byte-string.ts'
import { manifestDefaults, type Manifest, type ManifestFile, type ManifestPath } from '../../format/manifest.ts'
import { PgtsError } from '../../util/error.ts'
import type { CopiedFile } from './copy-file.ts'

/** What is known of a backup when it starts. */
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

/** A manifest in the making: files are recorded as they arrive in the repository. */
export class ManifestDraft {
  readonly #head: DraftHead
  readonly #files: Map<string, ManifestFile>

  constructor(head: DraftHead, files: Iterable<ManifestFile>) {
    this.#head = head
    this.#files = new Map()
    for (const file of files) this.#files.set(file.name, file)
  }

  /** The data directory itself, whose owner and mode the returned files get. */
  get pgData(): ManifestPath {
    const path = this.#head.paths.find(({ name }) => name === 'pg_data')
    if (path === undefined) throw new PgtsError('assert', 'the list of directories has no pg_data')
    return path
  }

  /** A file that was copied, or that vanished and so leaves the manifest. Returns the entry as it now stands. */
  record(copied: CopiedFile): ManifestFile | undefined {
    const listed = this.#files.get(copied.name)
    if (listed === undefined) throw new PgtsError('assert', `a file that was never listed was copied: ${copied.name}`)
    if (copied.vanished === true) {
      this.#files.delete(copied.name)
      return undefined
    }
    const entry: ManifestFile = {
      name: listed.name,
      mode: listed.mode,
      user: listed.user,
      group: listed.group,
      timestamp: listed.timestamp,
      sizeBytes: copied.sizeBytes,
      ...(listed.sizeBytes !== copied.sizeBytes ? { sizeOriginalBytes: listed.sizeBytes } : {}),
      ...(copied.sizeBytes > 0 ? { checksum: copied.checksum } : {}),
      ...(copied.repoSizeBytes !== copied.sizeBytes ? { repoSizeBytes: copied.repoSizeBytes } : {}),
      ...(copied.repoChecksum !== undefined ? { repoChecksum: copied.repoChecksum } : {}),
      ...(copied.pages !== undefined ? { checksumPage: copied.pages.valid } : {}),
      ...(copied.pages?.errors !== undefined ? { checksumPageErrors: copied.pages.errors } : {}),
    }
    this.#files.set(entry.name, entry)
    return entry
  }

  /** A file that does not come from the listing: backup_label, tablespace_map, WAL of archive-copy. */
  add(file: ManifestFile): void {
    this.#files.set(file.name, file)
  }

  /** What `backup.manifest.copy` holds while the backup runs; no command takes it for a usable backup. */
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
      ...(partial || archiveStart === undefined ? {} : { archiveStart }),
      ...(partial || lsnStart === undefined ? {} : { lsnStart }),
      ...(stop.archiveStop === undefined ? {} : { archiveStop: stop.archiveStop }),
      ...(stop.lsnStop === undefined ? {} : { lsnStop: stop.lsnStop }),
      timestampStop: stop.timestampStop,
      databases: stop.databases,
      files,
      defaults: manifestDefaults(this.pgData, head.links.length > 0),
    }
  }
}
