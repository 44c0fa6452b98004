import { saveArchiveInfo } from '../../../src/core/archive-info-store.ts'
import { saveBackupInfo } from '../../../src/core/backup-info-store.ts'
import { saveManifest, saveManifestHistory } from '../../../src/core/manifest-store.ts'
import { fullLabelOf, parseBackupLabel } from '../../../src/format/backup-label.ts'
import type { BackupEntry, BackupInfo } from '../../../src/format/backup-info.ts'
import { backupEntryOf } from '../../../src/format/manifest-totals.ts'
import { type BackupType, type Manifest } from '../../../src/format/manifest.ts'
import { archiveFileName, backupLabelPath } from '../../../src/format/repo-path.ts'
import type { Repository } from '../../../src/core/repository.ts'
import type { WorkerEnv } from '../../../src/core/worker-env.ts'
import { localFiles } from '../../../src/postgres/local-files.ts'
import type { StorageDriver } from '../../../src/storage/driver.ts'
import { putFile } from '../../../src/storage/whole-file.ts'
import { Turns } from '../../../src/util/turns.ts'
import { aFile, aManifest } from './manifest.ts'

/** A repository that is open; repo1 and not encrypted by default. */
export function repositoryWith(
  storage: StorageDriver,
  { key = 1, cipher }: Partial<Pick<Repository, 'key' | 'cipher'>> = {},
): Repository {
  return { key, display: `repo${key}`, storage, cipher }
}

/** The environment of a worker's jobs, with one repository that is open already. */
export function workerEnvWith(repository: Repository, bufferBytes: number): WorkerEnv {
  return {
    repository: async () => repository,
    files: localFiles(),
    buffer: Buffer.alloc(bufferBytes),
    turns: new Turns(),
    [Symbol.asyncDispose]: async () => undefined,
  }
}

export const SYSTEM_ID = 6569239123849665679n

/** One cluster after another, of the version and system id that make its history entry. */
export interface TestCluster {
  readonly version?: string
  readonly systemId?: bigint
}

export interface TestBackup {
  readonly label: string
  /** Default: for a diff its full, for an incr the backup listed before it. */
  readonly prior?: string
  /** History id, default 1. */
  readonly id?: number
  /** Segments, default from the position in the list; null: offline. */
  readonly wal?: readonly [start: string, stop: string] | null
  readonly stop?: number
  readonly manifest?: Partial<Manifest>
}

export interface TestRepository {
  readonly stanza?: string
  readonly clusters?: readonly TestCluster[]
  readonly backups?: readonly TestBackup[]
  /** Names of files in archive/STANZA/<id>, for `15-1/` first: segments get a checksum. */
  readonly wal?: Readonly<Record<string, readonly string[]>>
}

/** `000000010000000000000012` */
export function segment(number: number, timeline = 1): string {
  const hex = (value: number) => value.toString(16).toUpperCase().padStart(8, '0')
  return hex(timeline) + hex(Math.floor(number / 256)) + hex(number % 256)
}

export function segments(first: number, last: number, timeline = 1): string[] {
  return Array.from({ length: last - first + 1 }, (_, index) => segment(first + index, timeline))
}

export function typeOfLabel(label: string): BackupType {
  return ({ F: 'full', D: 'diff', I: 'incr' } as const)[label.slice(-1) as 'F' | 'D' | 'I']
}

/** Manifests of a chain of backups: each stores one file and refers to one of its prior. */
export function manifestsOf(backups: readonly TestBackup[], clusters: readonly TestCluster[] = [{}]): Manifest[] {
  const manifests = new Map<string, Manifest>()
  for (const [index, backup] of backups.entries()) {
    const { label, id = 1 } = backup
    const type = typeOfLabel(label)
    const full: string = fullLabelOf(parseBackupLabel(label))
    const prior =
      type === 'full'
        ? undefined
        : (backup.prior ?? (type === 'diff' ? full : (backups[index - 1] as TestBackup).label))
    const wal = backup.wal === undefined ? ([segment(index * 10 + 2), segment(index * 10 + 3)] as const) : backup.wal
    const chain = prior === undefined ? [] : (manifests.get(prior)?.references ?? [prior])
    const cluster = clusters[id - 1] ?? {}
    const {
      archiveStart: _1,
      archiveStop: _2,
      lsnStart: _3,
      lsnStop: _4,
      ...base
    } = aManifest([
      ...(prior === undefined ? [] : [aFile('pg_data/base/1/1', 'old', { reference: full })]),
      aFile(prior === undefined ? 'pg_data/base/1/1' : `pg_data/base/1/${index + 2}`, 'old'),
    ])
    manifests.set(label, {
      ...base,
      label,
      type,
      ...(prior === undefined ? {} : { prior }),
      references: [...chain, label],
      ...(wal === null
        ? {}
        : { archiveStart: wal[0], archiveStop: wal[1], lsnStart: '0/2000028', lsnStop: '0/3000050' }),
      timestampStart: (backup.stop ?? 1_767_000_000 + index * 100) - 10,
      timestampStop: backup.stop ?? 1_767_000_000 + index * 100,
      db: {
        historyId: id,
        systemId: cluster.systemId ?? SYSTEM_ID,
        version: cluster.version ?? '15',
        catalogVersion: 202209061,
        controlVersion: 1300,
      },
      ...backup.manifest,
    })
  }
  return [...manifests.values()]
}

export function entriesOf(backups: readonly TestBackup[], clusters?: readonly TestCluster[]): BackupEntry[] {
  return manifestsOf(backups, clusters).map(backupEntryOf)
}

export function backupInfoOf(backups: readonly BackupEntry[], clusters: readonly TestCluster[] = [{}]): BackupInfo {
  return {
    backrestVersion: '2.59.1',
    currentId: clusters.length,
    history: clusters.map(({ version = '15', systemId = SYSTEM_ID }, index) => ({
      id: index + 1,
      systemId,
      version,
      catalogVersion: 202209061,
      controlVersion: 1300,
    })),
    backups,
  }
}

export function archiveInfoOf(clusters: readonly TestCluster[] = [{}]) {
  return {
    backrestVersion: '2.59.1',
    currentId: clusters.length,
    history: clusters.map(({ version = '15', systemId = SYSTEM_ID }, index) => ({ id: index + 1, systemId, version })),
  }
}

/** Fill a storage as finished backups and archiving leave it. */
export async function fillRepository(storage: StorageDriver, repository: TestRepository): Promise<void> {
  const { stanza = 'main', clusters = [{}], backups = [], wal = {} } = repository
  const manifests = manifestsOf(backups, clusters)
  for (const manifest of manifests) {
    for (const file of manifest.files) {
      if (file.reference !== undefined) continue
      await putFile(storage, `${backupLabelPath(stanza, manifest.label)}/${file.name}`, Buffer.from('old'))
    }
    await saveManifest(storage, stanza, manifest, {})
    await saveManifestHistory(storage, stanza, manifest, {})
  }
  await saveBackupInfo(repositoryWith(storage), stanza, backupInfoOf(manifests.map(backupEntryOf), clusters))
  await saveArchiveInfo(repositoryWith(storage), stanza, archiveInfoOf(clusters))
  for (const [archiveId, names] of Object.entries(wal)) {
    for (const name of names) {
      const stored = /^[0-9A-F]{24}(\.partial)?$/.test(name) ? `${name}-${'0'.repeat(40)}.gz` : name
      await putFile(storage, archiveFileName(stanza, archiveId, stored), Buffer.from('wal'))
    }
  }
}

/** Every file, sorted. */
export async function namesOf(storage: StorageDriver, prefix = ''): Promise<string[]> {
  const names: string[] = []
  for await (const { name } of storage.list(prefix, { recursive: true })) names.push(name)
  return names.sort()
}
