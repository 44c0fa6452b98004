import { statSync } from 'node:fs'
import { pathOf } from '../../../util/byte-string.ts'
import type { CompressType } from '../../../util/compress-type.ts'
import { PgtsError, toPlainError, type PlainError } from '../../../util/error.ts'
import { type Logger, silentLogger } from '../../../util/log.ts'
import type { Repository } from '../../repository.ts'
import type { WorkerEnv } from '../../worker-env.ts'
import type { ClusterIdentity } from '../find.ts'
import { pushWhereItGoes } from './push-wal.ts'
import { recentArchiveInfo } from './recent-info.ts'
import { WaitingOn } from './waiting-on.ts'

/** One WAL file to store in some repositories; plain data. */
export interface PushJob {
  readonly stanza: string
  /** Absolute byte string. */
  readonly path: string
  /** Repositories to store it in. */
  readonly repoKeys: readonly number[]
  readonly identity: ClusterIdentity
  readonly compress: { readonly type: CompressType; readonly level: number }
  readonly headerCheck: boolean
  readonly warnWhenArchived: boolean
  /** Where the worker records which repositories it waits for, see `WaitingOn`. */
  readonly waitingOn: SharedArrayBuffer
  /** When a worker was given it, ms since 1970. */
  readonly nowMs: number
}

export interface PushJobResult {
  /** Repositories that have the file, durable. */
  readonly stored: readonly number[]
  readonly failures: readonly { readonly repoKey: number; readonly error: PlainError }[]
  /** The file itself cannot be archived; then nothing else is reported. */
  readonly refused?: PlainError
  readonly sizeBytes: number
  /** Modification time of the file, ns. */
  readonly mtimeNs: bigint
  /** For the caller of archive-push. */
  readonly warnings: readonly string[]
}

/** Job `archive-push`: every repository is tried, and failures are returned as data. */
export async function pushFile(job: PushJob, env: WorkerEnv, signal: AbortSignal): Promise<PushJobResult> {
  const warnings: string[] = []
  const before = stampOf(job.path)
  const none = { stored: [], failures: [], sizeBytes: 0, mtimeNs: before?.mtimeNs ?? 0n, warnings }
  const waiting = new WaitingOn(job.repoKeys, job.waitingOn)
  const opened = new Map<number, Repository>()
  const infos = recentArchiveInfo(opened, job.stanza, job.nowMs)
  try {
    const closed: { repoKey: number; error: PlainError }[] = []
    for (const repoKey of job.repoKeys) {
      try {
        opened.set(repoKey, await env.repository(repoKey))
      } catch (error) {
        closed.push({ repoKey, error: toPlainError(error) })
      }
    }
    const { report, failures } = await pushWhereItGoes({
      ...job,
      files: env.files,
      repositories: [...opened.values()].map((one) => ({ ...one, storage: waiting.watch(one.key, one.storage) })),
      archiveInfo: (repository, options) => infos.of(repository, options),
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
