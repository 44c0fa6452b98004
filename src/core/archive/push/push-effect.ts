import type { PgtsError } from '../../../util/error.ts'
import type { PushStatus } from '../status/push-status.ts'
import type { ByteString } from '../../../util/byte-string.ts'

export interface PushQueueSettings {
  readonly repoKeys: readonly number[]
  /** archive-push-queue-max, bytes. */
  readonly queueMaxBytes: number | undefined
  /** archive-push-batch-size: at most this much is started before the queue is read again. */
  readonly batchBytes: number
  /** The last status of the previous process. */
  readonly before: PushStatus | undefined
  readonly nowMs: number
  readonly random: () => number
}

/** A file that is stored in every repository. */
export interface StoredFile {
  /** Modification time of the file that was stored, ns. */
  readonly mtimeNs: bigint
  /** For the log of PostgreSQL. */
  readonly warning?: string
}

/** A file that PostgreSQL wants archived. */
export interface WaitingFile {
  readonly name: ByteString
  readonly sinceMs: number
  /** Repositories that have it. */
  readonly storedIn: Set<number>
  /** Modification time of the file that they have, ns. */
  mtimeNs?: bigint
  attempts: number
  /** Every repository has it, and its `.ok` is not written yet. */
  stored?: StoredFile
  /** No repository can store the file as it is (it is torn). It is retried: the cause may be repaired. */
  refused?: { readonly lastTryMs: number; nextTryMs: number }
}

/** A file for a worker, and the repositories that it is to be pushed to. */
export interface Assignment {
  readonly file: WaitingFile
  readonly repoKeys: readonly number[]
}

/** What the background process has to do. Effects are carried out in order. */
export type PushEffect =
  | { readonly kind: 'write-ok'; readonly name: ByteString; readonly stored: StoredFile }
  | { readonly kind: 'write-error'; readonly name: ByteString; readonly error: PgtsError }
  /** PostgreSQL has read this `.ok`. */
  | { readonly kind: 'remove-ok'; readonly name: string }
  /** Write an `.ok` with a warning for each of these files, and report `dropped` when all are written. */
  | { readonly kind: 'drop'; readonly names: readonly ByteString[]; readonly limitBytes: number }
  | { readonly kind: 'write-status' }
  | {
      readonly kind: 'log'
      readonly level: 'warn' | 'info' | 'detail'
      readonly message: string
      /** Name of a WAL file. */
      readonly file?: ByteString
    }

export function logEffect(level: 'warn' | 'info' | 'detail', message: string, file?: ByteString): PushEffect {
  return { kind: 'log', level, message, file }
}
