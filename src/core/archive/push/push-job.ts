import { statSync } from 'node:fs'
import { pathOf } from '../../../util/byte-string.ts'
import type { CompressType } from '../../../util/compress-type.ts'
import { PgtsError, toPlainError, type PlainError } from '../../../util/error.ts'
import { type Logger, silentLogger } from '../../../util/log.ts'
import type { StorageDescription, StorageDriver } from '../../../storage/driver.ts'
import type { WorkerEnv } from '../../worker-env.ts'
import type { ArchiveRepository, ClusterIdentity } from '../find.ts'
import { pushWhereItGoes } from './push-wal.ts'
import { workerStorage } from '../worker-storages.ts'
import { recentArchiveInfo } from './recent-info.ts'
import { WaitingOn } from './waiting-on.ts'

/** A repository as plain data. */
export interface RepositorySetup {
  readonly key: number
  readonly storage: StorageDescription
  readonly cipher?: { readonly type: 'aes-256-cbc'; readonly origin: string; readonly passphrase: string }
}

export function repositorySetup(repository: ArchiveRepository, storage: StorageDescription): RepositorySetup {
  const { key, cipher } = repository
  if (cipher === undefined) return { key, storage }
  return { key, storage, cipher: { type: cipher.type, origin: cipher.origin, passphrase: cipher.passphrase() } }
}

/** One WAL file on its way to some repositories; plain data. */
export interface PushJob {
  readonly stanza: string
  /** Absolute byte string. */
  readonly path: string
  /** Repositories that shall have it. */
  readonly repositories: readonly RepositorySetup[]
  readonly identity: ClusterIdentity
  readonly compress: { readonly type: CompressType; readonly level: number }
  readonly headerCheck: boolean
  readonly warnWhenArchived: boolean
  /** Where the worker tells which repositories it waits for, see `WaitingOn`. */
  readonly waitingOn: SharedArrayBuffer
  /** When a worker was given it, ms since 1970. */
  readonly nowMs: number
}

export interface PushJobResult {
  /** Repositories that have the file, durable. */
  readonly stored: readonly number[]
  readonly failures: readonly { readonly repoKey: number; readonly error: PlainError }[]
  /** The file itself cannot be archived; then nothing else is told. */
  readonly refused?: PlainError
  readonly sizeBytes: number
  /** Modification time of the file, ns. */
  readonly mtimeNs: bigint
  /** To be told to whoever archives the file. */
  readonly warnings: readonly string[]
}

/** Job `archive-push`: every repository is tried, and what went wrong where is told as data. */
export async function pushFile(job: PushJob, env: WorkerEnv, signal: AbortSignal): Promise<PushJobResult> {
  const warnings: string[] = []
  const before = stampOf(job.path)
  const none = { stored: [], failures: [], sizeBytes: 0, mtimeNs: before?.mtimeNs ?? 0n, warnings }
  const keys = job.repositories.map(({ key }) => key)
  const waiting = new WaitingOn(keys, job.waitingOn)
  const infos = recentArchiveInfo(env, job.stanza, job.nowMs)
  try {
    const repositories: ArchiveRepository[] = []
    const closed: { repoKey: number; error: PlainError }[] = []
    for (const { key, storage, cipher } of job.repositories) {
      let opened: StorageDriver
      try {
        opened = waiting.watch(key, await workerStorage(env, storage))
      } catch (error) {
        closed.push({ repoKey: key, error: toPlainError(error) })
        continue
      }
      const unlock = cipher && { ...cipher, passphrase: () => cipher.passphrase }
      repositories.push({ key, storage: opened, cipher: unlock })
    }
    const directories = new Set(job.repositories.filter((one) => one.storage.kind === 'posix').map(({ key }) => key))
    const { report, failures } = await pushWhereItGoes({
      ...job,
      files: env.files,
      repositories,
      archiveInfo: (repository, options) => infos.of(repository, directories.has(repository.key), options),
      log: collecting(warnings),
      signal,
    })
    if (failures.count > 0) infos.forget()
    if (!sameStamp(before, stampOf(job.path))) {
      throw new PgtsError('file-read', `${job.path} changed while it was being archived`)
    }
    return {
      stored: report.repositories.map(({ repoKey }) => repoKey),
      failures: [
        ...closed,
        ...failures.entries().map(({ key, error }) => ({ repoKey: key, error: toPlainError(error) })),
      ],
      sizeBytes: report.sizeBytes,
      mtimeNs: before?.mtimeNs ?? 0n,
      warnings,
    }
  } catch (error) {
    infos.forget()
    signal.throwIfAborted()
    return { ...none, refused: toPlainError(error) }
  }
}

interface Stamp {
  readonly mtimeNs: bigint
  readonly ino: bigint
  readonly size: bigint
}

function stampOf(path: string): Stamp | undefined {
  return statSync(pathOf(path), { bigint: true, throwIfNoEntry: false })
}

function sameStamp(a: Stamp | undefined, b: Stamp | undefined): boolean {
  return a?.mtimeNs === b?.mtimeNs && a?.ino === b?.ino && a?.size === b?.size
}

function collecting(warnings: string[]): Logger {
  const warn = (first: string | object, second?: string) =>
    void warnings.push(typeof first === 'string' ? first : (second ?? ''))
  return { ...silentLogger, warn, enabled: (level) => level === 'warn' }
}
