import { statSync } from 'node:fs'
import type { ArchiveInfo } from '../../../format/archive-info.ts'
import type { PendingFile, StorageDriver } from '../../../storage/driver.ts'
import { forwarding } from '../../../storage/wrappers.ts'
import { bytesToText, pathOf, type ByteString } from '../../../util/byte-string.ts'
import { PgtsError, toPlainError, type PlainError } from '../../../util/error.ts'
import { type Logger, silentLogger } from '../../../util/log.ts'
import { loadArchiveInfo } from '../../archive-info-store.ts'
import type { LoadOptions } from '../../info-pair.ts'
import type { Repository } from '../../repository.ts'
import type { ScannedSegment } from '../../window/segment-scan.ts'
import type { WorkerEnv } from '../../worker-env.ts'
import type { ClusterIdentity } from '../../cluster-identity.ts'
import { pushToEach, type PushRequest } from './push-wal.ts'

/** One WAL file to store in some repositories; plain data. */
export interface PushJob extends Pick<
  PushRequest,
  'stanza' | 'path' | 'compression' | 'headerCheck' | 'warnWhenArchived'
> {
  /** Repositories to store it in. */
  readonly repoKeys: readonly number[]
  readonly identity: ClusterIdentity
  /** Where the worker records which repositories it waits for, see `WaitingOn`. */
  readonly waitingOn: SharedArrayBuffer
  /** When a worker received it, ms since 1970. */
  readonly nowMs: number
}

/** The scan of a stored segment, and where it was stored. */
export interface StoredTimes {
  readonly scanned: ScannedSegment
  readonly archives: readonly { readonly repoKey: number; readonly archiveId: string }[]
}

export interface PushJobResult {
  /** Repositories that have the file, durable. */
  readonly stored: readonly number[]
  readonly failures: readonly { readonly repoKey: number; readonly error: PlainError }[]
  /** The file itself cannot be archived; then nothing else is reported. */
  readonly refused?: PlainError
  readonly sizeBytes: number
  /** Commit times of a segment that was stored. */
  readonly times?: StoredTimes
  /** Modification time of the file, ns; absent: the push has hung, or its worker has failed. */
  readonly mtimeNs?: bigint
  /** For the caller of archive-push. */
  readonly warnings: readonly string[]
}

/** Job `archive-push`: every repository is tried, and failures are returned as data. */
export async function pushFile(job: PushJob, env: WorkerEnv, signal: AbortSignal): Promise<PushJobResult> {
  const warnings: string[] = []
  const before = stampOf(job.path)
  const nothing = { stored: [], failures: [], sizeBytes: 0, mtimeNs: before?.mtimeNs ?? 0n, warnings }
  const waiting = new WaitingOn(job.repoKeys, job.waitingOn)
  const opened = new Map<number, Repository>()
  const forgetInfos = () => opened.forEach((repository) => recentInfos.delete(repository))
  const failed: { repoKey: number; error: PlainError }[] = []
  try {
    for (const repoKey of job.repoKeys) {
      try {
        opened.set(repoKey, await env.repository(repoKey))
      } catch (error) {
        failed.push({ repoKey, error: toPlainError(error) })
      }
    }
    const { report, failures } = await pushToEach({
      ...job,
      files: env.files,
      repositories: [...opened.values()].map((one) => ({ ...one, storage: waiting.watch(one.key, one.storage) })),
      archiveInfo: (repository, options) => recentInfo(opened.get(repository.key)!, repository, job, options),
      scan: true,
      log: collecting(warnings),
      signal,
    })
    if (failures.count > 0) forgetInfos()
    if (!sameStamp(before, stampOf(job.path))) {
      throw new PgtsError('file-read', `${bytesToText(job.path)} changed while it was being archived`)
    }
    failed.push(...failures.entries().map(({ key, error }) => ({ repoKey: key, error: toPlainError(error) })))
    const stored = report.repositories.map(({ repoKey }) => repoKey)
    const { scanned, repositories: archives } = report
    const times = scanned === undefined ? {} : { times: { scanned, archives } }
    return { ...nothing, stored, failures: failed, sizeBytes: report.sizeBytes, ...times }
  } catch (error) {
    forgetInfos()
    signal.throwIfAborted()
    return { ...nothing, refused: toPlainError(error) }
  }
}

interface Stamp {
  readonly mtimeNs: bigint
  readonly ino: bigint
  readonly size: bigint
}

function stampOf(path: ByteString): Stamp | undefined {
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

/** Less than deleting and creating a stanza takes, and enough that a storm of segments does not read it for each. */
const INFO_AGE_MS = 2000

/** By repository of a worker, whose jobs are all of one stanza. */
const recentInfos = new WeakMap<Repository, { readonly readMs: number; readonly info: ArchiveInfo }>()

/**
 * archive.info. In an object store reading it takes a round trip, so it is read again only after a while. It is read for
 * each file if it contains the key of the archive, and in a directory, where it proves that the file system of the
 * repository is mounted.
 *
 * @param opened the repository of the worker
 * @param used the same for this job: `WaitingOn` observes its calls
 */
async function recentInfo(
  opened: Repository,
  used: Repository,
  { stanza, nowMs }: PushJob,
  options: LoadOptions,
): Promise<ArchiveInfo> {
  const recent = recentInfos.get(opened)
  if (recent !== undefined && nowMs >= recent.readMs && nowMs - recent.readMs < INFO_AGE_MS) return recent.info
  recentInfos.delete(opened)
  const info = await loadArchiveInfo(used, stanza, options)
  const isDirectory = opened.storage.parallel === undefined
  if (info.cipherPass === undefined && !isDirectory) recentInfos.set(opened, { readMs: nowMs, info })
  return info
}

/**
 * The repositories that a push is waiting for, in memory that the main thread can read while this thread is stuck in a
 * call. The error can then name the repository.
 */
export class WaitingOn {
  readonly #keys: readonly number[]
  readonly #calls: Int32Array

  /** @param buffer `WaitingOn.bufferFor(keys)`, shared by both threads */
  constructor(keys: readonly number[], buffer: SharedArrayBuffer) {
    this.#keys = keys
    this.#calls = new Int32Array(buffer)
  }

  static bufferFor(keys: readonly number[]): SharedArrayBuffer {
    return new SharedArrayBuffer(4 * keys.length)
  }

  /** Repositories that have not answered a call. */
  keys(): number[] {
    return this.#keys.filter((_, index) => Atomics.load(this.#calls, index) > 0)
  }

  /** The same storage; calls of a push are counted until they return. */
  watch(key: number, storage: StorageDriver): StorageDriver {
    const index = this.#keys.indexOf(key)
    const enter = () => void Atomics.add(this.#calls, index, 1)
    const leave = () => void Atomics.sub(this.#calls, index, 1)
    const during = async <T>(call: () => Promise<T>): Promise<T> => {
      enter()
      try {
        return await call()
      } finally {
        leave()
      }
    }
    const { createIfAbsent } = storage
    return forwarding(storage, {
      stat: (name, options) => during(() => storage.stat(name, options)),
      async *list(prefix, options) {
        enter()
        try {
          yield* storage.list(prefix, options)
        } finally {
          leave()
        }
      },
      read: (name, range) => during(() => storage.read(name, range)),
      create: (name, options) =>
        during(async () => watchFile(await storage.create(name, options), during, enter, leave)),
      createIfAbsent:
        createIfAbsent && ((name, bytes, options) => during(() => createIfAbsent.call(storage, name, bytes, options))),
      sync: (prefix, options) => during(() => storage.sync(prefix, options)),
      // The worker closes the repository.
      [Symbol.asyncDispose]: async () => undefined,
    })
  }
}

function watchFile(
  file: PendingFile,
  during: <T>(call: () => Promise<T>) => Promise<T>,
  enter: () => void,
  leave: () => void,
): PendingFile {
  return {
    sink: {
      write(chunk) {
        enter()
        let answer: void | Promise<void>
        try {
          answer = file.sink.write(chunk)
        } catch (error) {
          leave()
          throw error
        }
        if (answer === undefined) return leave()
        return answer.finally(leave)
      },
    },
    commit: (options) => during(() => file.commit(options)),
    [Symbol.asyncDispose]: () => during(async () => file[Symbol.asyncDispose]()),
  }
}
