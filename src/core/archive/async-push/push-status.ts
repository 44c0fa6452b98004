import { decodeUtf8, textToBytes } from '../../../util/byte-string.ts'
import { readIfThere, writeWhole, type SpoolPaths } from '../spool-files.ts'

/** A file and when something happened to it; times are ms since 1970. */
export interface FileEvent {
  readonly file: string
  readonly timeMs: number
}

/** What the background process of archive-push tells about itself, in `pgts/status.json` of the spool. */
export interface PushStatus {
  readonly pid: number
  /** `blocked`: it cannot work now, `why` says why. `ended`: it has gone, `why` says why. */
  readonly state: 'working' | 'idle' | 'blocked' | 'ended'
  readonly why?: string
  readonly startedMs: number
  readonly updatedMs: number
  readonly queue: {
    /** Files that wait, without those that are pushed and that PostgreSQL has not asked about. */
    readonly files: number
    readonly bytes: number
    readonly first?: string
    readonly last?: string
    /** When the first of them was seen first. */
    readonly sinceMs?: number
    /** archive-push-queue-max. */
    readonly limitBytes?: number
  }
  readonly inHand: readonly { readonly file: string; readonly sinceMs: number }[]
  readonly lastSuccess?: FileEvent
  readonly lastFailure?: FileEvent & { readonly code: number; readonly message: string }
  /** Files that were given up because the queue was too long, ever in this spool. */
  readonly dropped?: FileEvent & { readonly files: number }
  /** Since this process started. */
  readonly pushed: { readonly files: number; readonly bytes: number }
  /** Of the last minute, or of the time since it started when that is shorter. */
  readonly rate: { readonly files: number; readonly bytes: number; readonly ms: number }
  readonly repositories: readonly {
    readonly key: number
    /** Absent: it takes WAL. */
    readonly trouble?: {
      readonly sinceMs: number
      readonly failures: number
      readonly nextTryMs: number
      readonly message: string
    }
  }[]
}

const FORMAT = 1

export function writePushStatus(spool: SpoolPaths, status: PushStatus): void {
  writeWhole(spool, statusFileOf(spool), textToBytes(`${JSON.stringify({ format: FORMAT, ...status })}\n`))
}

/** undefined: no background process has worked here, or a file of another format lies there. */
export function readPushStatus(spool: SpoolPaths): PushStatus | undefined {
  const file = readIfThere(statusFileOf(spool))
  if (file === undefined) return undefined
  try {
    const value = JSON.parse(decodeUtf8(file.text)) as PushStatus & { format?: unknown }
    const whole = value.format === FORMAT && typeof value.pid === 'number' && typeof value.queue?.files === 'number'
    return whole && Array.isArray(value.inHand) && Array.isArray(value.repositories) ? value : undefined
  } catch {
    return undefined
  }
}

function statusFileOf(spool: SpoolPaths): string {
  return `${spool.own}/status.json`
}
