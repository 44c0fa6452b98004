import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { loadBackupInfo } from '../../../src/core/backup-info-store.ts'
import { loadManifest } from '../../../src/core/manifest-store.ts'
import type { StoredBlocks } from '../../../src/core/block/read.ts'
import { restoreBatch } from '../../../src/core/restore/restore-file.ts'
import { type RestoredFile } from '../../../src/core/restore/restore-job.ts'
import { type RestoreFile } from '../../../src/core/restore/restore-job.ts'
import { restoreJobs } from '../../../src/core/restore/jobs.ts'
import type { FileAction, PlannedFile } from '../../../src/core/restore/plan.ts'
import type { Manifest, ManifestFile } from '../../../src/format/manifest.ts'
import { fileRepoName } from '../../../src/format/repo-path.ts'
import type { StorageDriver } from '../../../src/storage/driver.ts'
import { memoryStorage, type MemoryStorage } from '../../../src/storage/memory.ts'
import { putFile } from '../../../src/storage/whole-file.ts'
import { workerEnvWith, repositoryWith } from './repository.ts'

const root = join(import.meta.dirname, '../../vectors/blocks')
const STANZA = 'demo'
/** Of the encrypted ones. */
const PASSPHRASE = 'vectors of pgts'

/** Repositories that the real pgbackrest wrote (test/vectors/README.md). */
export const blockRepositories = readdirSync(root).filter((name) => name.startsWith('2.'))

export interface BlockRepository {
  readonly storage: MemoryStorage
  /** Oldest first. */
  readonly backups: readonly Manifest[]
  /** SHA-1 of each file of the data directory at the time of a backup, as recorded beside the repository. */
  recorded(label: string): ReadonlyMap<string, { readonly sizeBytes: number; readonly checksum: string }>
}

/** One of these repositories, in memory. */
export async function openBlockRepository(name: string): Promise<BlockRepository> {
  const storage = memoryStorage()
  const repo = join(root, name, 'repo')
  for (const entry of readdirSync(repo, { recursive: true, withFileTypes: true, encoding: 'latin1' })) {
    if (!entry.isFile()) continue
    const path = join(entry.parentPath, entry.name)
    await putFile(storage, path.slice(repo.length + 1), readFileSync(path))
  }
  const cipher = { type: 'aes-256-cbc' as const, origin: 'the test', passphrase: () => PASSPHRASE }
  const repository = repositoryWith(storage, name.includes('encrypted') ? { cipher } : {})
  const info = await loadBackupInfo(repository, STANZA)
  const backups: Manifest[] = []
  for (const { label } of info.backups) backups.push(await loadManifest(storage, STANZA, label, info))
  const lines = readFileSync(join(root, name, 'content.txt'), 'latin1')
    .trim()
    .split('\n')
  return {
    storage,
    backups,
    recorded(label) {
      const own = lines.map((line) => line.split(' ') as [string, string, string, string]).filter(([l]) => l === label)
      return new Map(own.map(([, file, size, checksum]) => [`pg_data/${file}`, { sizeBytes: Number(size), checksum }]))
    },
  }
}

/** The files of a backup that are stored as blocks, and where. */
export function blockFiles(manifest: Manifest): { readonly file: ManifestFile; readonly where: StoredBlocks }[] {
  const { cipherPass } = manifest
  return [...manifest.files].flatMap((file) => {
    const { blockMapSize: mapSizeBytes, blockSize, blockChecksumSize: checksumSize, sizeBytes } = file
    if (mapSizeBytes === undefined || blockSize === undefined || checksumSize === undefined) return []
    const where = {
      repoName: fileRepoName(STANZA, file, manifest.label, manifest.options.compressType),
      offset: file.bundleOffset ?? 0,
      repoSizeBytes: file.repoSizeBytes ?? sizeBytes,
      mapSizeBytes,
      sizeBytes,
      blockSize,
      checksumSize,
      referenceCount: manifest.references.length,
      cipherPass,
    }
    return [{ file, where }]
  })
}

/** Runs the job of a restore for some files of a backup; each goes to `dir` under the last part of its name. */
export async function restoreFiles(
  storage: StorageDriver,
  manifest: Manifest,
  files: readonly ManifestFile[],
  dir: string,
  action: FileAction,
): Promise<(RestoredFile & Pick<RestoreFile, 'name' | 'sizeBytes'>)[]> {
  const planned = files.map((file): PlannedFile => ({ file, path: pathIn(dir, file.name), action }))
  // The user of the test owns the restored files.
  const ownership = { ownerOf: () => undefined } as unknown as Parameters<typeof restoreJobs>[1]['ownership']
  const repository = repositoryWith(storage)
  // Not a multiple of a block, and smaller than the files.
  const env = workerEnvWith(repository, 50_000)
  const results: (RestoredFile & Pick<RestoreFile, 'name' | 'sizeBytes'>)[] = []
  for (const job of restoreJobs(planned, { manifest, stanza: STANZA, ownership, repository, syncUnchanged: false })) {
    const restored = await restoreBatch(job, env, signal)
    results.push(...job.files.map(({ name, sizeBytes }, place) => ({ name, sizeBytes, ...restored[place]! })))
  }
  return results
}

const { signal } = new AbortController()

export function pathIn(dir: string, name: string): string {
  return join(dir, name.replaceAll('/', '-'))
}
