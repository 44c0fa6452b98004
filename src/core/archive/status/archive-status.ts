import { formatLsn, isWalSegment, lsnOfSegment, type WalSegment } from '../../../format/wal-segment.ts'
import type { FileEvent } from './push-status.ts'
import type { ArchivingFacts, SpoolMessage } from './archiving-facts.ts'
import { diagnose, type Finding } from './diagnose.ts'

/** The state of archiving. Times are ms since 1970; unknown values are absent. */
export interface ArchiveStatus {
  readonly stanza: string
  readonly timeMs: number
  /** `trouble`: WAL is not archived. `behind`: it is archived too slowly. */
  readonly state: 'ok' | 'behind' | 'trouble' | 'unknown'
  readonly server: {
    readonly reachable: boolean
    /** Why it is not reachable. */
    readonly why?: string
    readonly role?: 'primary' | 'standby'
    readonly archiveMode?: 'off' | 'on' | 'always'
    readonly lsn?: string
  }
  readonly queue?: {
    readonly files: number
    readonly bytes: number
    readonly limitBytes?: number
    readonly first?: string
    readonly last?: string
    readonly oldestSeconds?: number
    /** Stored in the repositories; PostgreSQL has not called archive-push for them yet. */
    readonly acknowledged: number
  }
  /** WAL that is not stored yet. `of`: up to the position of the server, or (server down) waiting files. */
  readonly lag?: { readonly bytes: number; readonly seconds: number; readonly of: 'server' | 'files' }
  readonly lastSuccess?: FileEvent
  readonly lastFailure?: FileEvent & { readonly code?: number; readonly message?: string }
  readonly failures?: number
  /** Archived recently. */
  readonly rate?: { readonly files: number; readonly bytes: number; readonly seconds: number }
  readonly background?: {
    readonly push: {
      readonly pid?: number
      readonly state: 'working' | 'idle' | 'blocked' | 'not running'
      readonly why?: string
      readonly inHand: readonly { readonly file: string; readonly seconds: number }[]
    }
    readonly get: { readonly pid?: number; readonly state: 'running' | 'not running' }
    readonly repositories: readonly { readonly key: number; readonly trouble?: string; readonly seconds?: number }[]
    readonly dropped?: FileEvent & { readonly files: number }
  }
  readonly spool?: {
    readonly path: string
    readonly errors: readonly SpoolMessage[]
    readonly warnings: readonly SpoolMessage[]
    readonly fetched: number
    readonly fetchErrors: readonly SpoolMessage[]
  }
  readonly stopFile?: string
  readonly findings: readonly Finding[]
}

/** Age from which the oldest waiting file is reported. */
const PATIENCE_MS = 60_000
/** Period of a rate that is computed from archive_status. */
const RATE_MS = 600_000
/** A spool can contain a message for every file of a long queue. */
const MOST_MESSAGES = 10

export function archiveStatus(
  facts: ArchivingFacts,
  options: { readonly limitBytes?: number | undefined; readonly unreachable?: string } = {},
): ArchiveStatus {
  const { nowMs, server, queue, spool, stopFile } = facts
  const findings = diagnose(facts, { patienceMs: PATIENCE_MS })
  const secondsSince = (ms: number) => Math.max(0, Math.round((nowMs - ms) / 1000))
  const lag = lagOf(facts)
  const lastSuccess = newest(server?.lastArchived, spool?.status?.lastSuccess, newestDone(facts))
  const lastFailure = newest(server?.lastFailed, spool?.status?.lastFailure, spool?.errors[0])
  const rate = rateOf(facts)
  const background = backgroundOf(facts)
  return {
    stanza: facts.stanza,
    timeMs: nowMs,
    state: stateOf(facts, findings),
    server: {
      reachable: server !== undefined,
      why: options.unreachable,
      ...(server === undefined
        ? {}
        : { role: server.inRecovery ? ('standby' as const) : ('primary' as const), archiveMode: server.mode }),
      lsn: server?.lsn === undefined ? undefined : formatLsn(server.lsn),
    },
    queue:
      queue === undefined
        ? undefined
        : {
            files: queue.files,
            bytes: queue.bytes,
            limitBytes: options.limitBytes,
            first: queue.first,
            last: queue.last,
            oldestSeconds: queue.sinceMs === undefined ? undefined : secondsSince(queue.sinceMs),
            acknowledged: queue.acknowledged,
          },
    lag,
    lastSuccess,
    lastFailure,
    failures: server?.failedCount,
    rate,
    background,
    spool:
      spool === undefined
        ? undefined
        : {
            path: spool.path,
            errors: spool.errors.slice(0, MOST_MESSAGES),
            warnings: spool.warnings.slice(0, MOST_MESSAGES),
            fetched: spool.fetched,
            fetchErrors: spool.fetchErrors.slice(0, MOST_MESSAGES),
          },
    stopFile,
    findings,
  }
}

function stateOf({ queue, server }: ArchivingFacts, findings: readonly Finding[]): ArchiveStatus['state'] {
  if (findings.some(({ layer }) => layer !== 'lag')) return 'trouble'
  if (findings.length > 0) return 'behind'
  return queue === undefined && server === undefined ? 'unknown' : 'ok'
}

/** WAL that would be lost with this host: from the first waiting file to the write position of the server. */
function lagOf({ server, queue, nowMs }: ArchivingFacts): ArchiveStatus['lag'] {
  const seconds = queue?.sinceMs === undefined ? 0 : Math.max(0, Math.round((nowMs - queue.sinceMs) / 1000))
  if (server?.lsn !== undefined && !server.inRecovery) {
    const { segmentSize } = server
    const waits = queue?.first?.slice(0, 24)
    const last = lastSegment([server.lastArchived?.file ?? '', ...(queue?.done.keys() ?? [])])
    const from =
      waits !== undefined && isWalSegment(waits)
        ? lsnOfSegment(waits, segmentSize)
        : last !== undefined
          ? lsnOfSegment(last, segmentSize) + BigInt(segmentSize)
          : undefined
    if (from !== undefined) return { bytes: Math.max(0, Number(server.lsn - from)), seconds, of: 'server' }
  }
  return queue === undefined ? undefined : { bytes: queue.bytes, seconds, of: 'files' }
}

/** The last archived segment. The last archived file may be a backup history file of an earlier segment. */
function lastSegment(files: readonly string[]): WalSegment | undefined {
  const segments = files.map((file) => file.slice(0, 24)).filter(isWalSegment)
  return segments.reduce<WalSegment | undefined>(
    (last, segment) => (segment > (last ?? '') ? segment : last),
    undefined,
  )
}

function newestDone({ queue }: ArchivingFacts): FileEvent | undefined {
  let found: FileEvent | undefined
  for (const [file, timeMs] of queue?.done ?? []) {
    if (found === undefined || timeMs > found.timeMs) found = { file, timeMs: Math.floor(timeMs) }
  }
  return found
}

function rateOf({ spool, queue, server, nowMs }: ArchivingFacts): ArchiveStatus['rate'] {
  const own = spool?.pushPid === undefined ? undefined : spool.status?.rate
  if (own !== undefined && own.ms > 0) return { files: own.files, bytes: own.bytes, seconds: Math.round(own.ms / 1000) }
  if (queue === undefined) return undefined
  const times = [...queue.done].flatMap(([file, ms]) => (isWalSegment(file) ? [ms] : []))
  // A checkpoint removes old `.done` files: the period starts with the oldest one.
  const fromMs = Math.max(nowMs - RATE_MS, Math.min(...times))
  const files = times.filter((ms) => ms > fromMs).length
  const seconds = Math.round((nowMs - fromMs) / 1000)
  if (files === 0 || seconds <= 0) return undefined
  const each = server?.segmentSize ?? (queue.files > 0 ? queue.bytes / queue.files : 0)
  return { files, bytes: files * each, seconds }
}

function backgroundOf({ spool, nowMs }: ArchivingFacts): ArchiveStatus['background'] {
  if (spool?.status === undefined && spool?.pushPid === undefined && spool?.getPid === undefined) return undefined
  const { status, pushPid, getPid } = spool
  const alive = pushPid !== undefined
  const state = !alive ? 'not running' : status === undefined || status.state === 'ended' ? 'working' : status.state
  return {
    push: {
      pid: alive ? pushPid : undefined,
      state,
      why: status?.why,
      inHand: (alive ? (status?.inHand ?? []) : []).map(({ file, sinceMs }) => ({
        file,
        seconds: Math.max(0, Math.round((nowMs - sinceMs) / 1000)),
      })),
    },
    get: { pid: getPid, state: getPid === undefined ? 'not running' : 'running' },
    repositories: (alive ? (status?.repositories ?? []) : []).map(({ key, trouble }) => ({
      key,
      ...(trouble === undefined
        ? {}
        : { trouble: trouble.message, seconds: Math.max(0, Math.round((nowMs - trouble.sinceMs) / 1000)) }),
    })),
    dropped: status?.dropped,
  }
}

function newest<T extends FileEvent>(...events: readonly (T | undefined)[]): T | undefined {
  return events.reduce((best, event) => {
    if (event === undefined) return best
    return best === undefined || event.timeMs > best.timeMs ? event : best
  }, undefined)
}
