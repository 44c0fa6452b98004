import { readdirSync, statSync } from 'node:fs'
import { type Caller, readServerEnvironment, type ServerEnvironment } from './archive-program.ts'
import type { ServerConnection } from '../../../postgres/client.ts'
import { readPostmasterFile } from '../../../postgres/socket.ts'
import {
  asBytes,
  bytes,
  bytesToLines,
  bytesToText,
  decodeUtf8,
  pathOf,
  type ByteString,
} from '../../../util/byte-string.ts'
import { parseLsn } from '../../../util/lsn.ts'
import { stopFileOf } from '../../../util/stop-file.ts'
import { readPushStatus, type FileEvent, type PushStatus } from './push-status.ts'
import { readReadyQueue } from '../push/ready-queue.ts'
import { readIfExists, spoolPaths } from '../spool/spool-files.ts'
import { livingPid } from '../spool/spool-lock.ts'

/** Paths of the files of archiving. */
export interface ArchivingPlace extends Caller {
  /** pg1-path, byte string. */
  readonly pgPath: ByteString
  /** As text; absent: archiving is synchronous. */
  readonly spoolPath?: string
  /** As text. */
  readonly lockPath?: string
}

/** Everything known on this host about archiving. Times are ms since 1970. */
export interface ArchivingFacts extends Caller {
  readonly nowMs: number
  readonly pgPath: string
  /** Absent: not queried, or no answer. */
  readonly server?: ServerArchiving
  /** archive_status; absent: it cannot be read. */
  readonly queue?: QueueFacts
  /** Absent: there is none. */
  readonly spool?: SpoolFacts
  /** Path of the stop file that exists. */
  readonly stopFile?: string
}

/** The archiver, as reported by the server. */
export interface ServerArchiving {
  readonly mode: 'off' | 'on' | 'always'
  /** Byte string; '' when there is none. */
  readonly command: ByteString
  readonly library: string
  /** Of the server's process; absent: it cannot be read. */
  readonly environment?: ServerEnvironment
  readonly inRecovery: boolean
  /** Its write position, on a standby its replay position. */
  readonly lsn?: bigint
  readonly segmentSize: number
  readonly archivedCount: number
  readonly failedCount: number
  readonly lastArchived?: FileEvent
  readonly lastFailed?: FileEvent
}

/** The contents of archive_status. */
export interface QueueFacts {
  /** Waiting files. */
  readonly files: number
  readonly bytes: number
  readonly first?: string
  readonly last?: string
  /** When PostgreSQL created the `.ready` file of the first. */
  readonly sinceMs?: number
  /** Files that are stored, and for which PostgreSQL has not called archive-push yet. */
  readonly acknowledged: number
  /** Files with a `.done` file, with its time: PostgreSQL regards them as archived. */
  readonly done: ReadonlyMap<string, number>
  readonly ready: ReadonlySet<string>
}

export interface SpoolFacts {
  /** Of this stanza, as text. */
  readonly path: string
  /** The background process of archive-push, if one is running. */
  readonly pushPid?: number
  readonly getPid?: number
  /** Its last status. */
  readonly status?: PushStatus
  /** `.error` files, the newest first. */
  readonly errors: readonly SpoolMessage[]
  /** `.ok` files with a warning. */
  readonly warnings: readonly SpoolMessage[]
  /** Files that are ready for replay. */
  readonly fetched: number
  readonly fetchErrors: readonly SpoolMessage[]
}

export interface SpoolMessage extends FileEvent {
  readonly code: number
  readonly message: string
}

/**
 * Collect all facts. Facts that cannot be read are left out: this is called after another error.
 *
 * @throws PgtsError when the server is given and its connection fails
 */
export async function readArchivingFacts(
  place: ArchivingPlace,
  nowMs: number,
  server?: ServerConnection,
): Promise<ArchivingFacts> {
  const spool = place.spoolPath === undefined ? undefined : readSpool(place.spoolPath, place.stanza)
  const queue = readQueue(place)
  const stopFile = stopFileIn(place)
  return {
    nowMs,
    stanza: place.stanza,
    program: place.program,
    pgPath: decodeUtf8(place.pgPath),
    server: server === undefined ? undefined : { ...(await askServer(server)), ...environmentOf(place.pgPath) },
    queue,
    spool,
    stopFile,
  }
}

function environmentOf(pgPath: ByteString): Pick<ServerArchiving, 'environment'> {
  const pid = readPostmasterFile(pgPath)?.pid
  const environment = pid === undefined ? undefined : readServerEnvironment(pid)
  return environment === undefined ? {} : { environment }
}

/** A stop file that is not trusted does not stop archiving. */
function stopFileIn({ lockPath, stanza }: ArchivingPlace): string | undefined {
  try {
    return lockPath === undefined ? undefined : stopFileOf(lockPath, stanza)
  } catch {
    return undefined
  }
}

async function askServer(server: ServerConnection): Promise<ServerArchiving> {
  const { facts } = server
  const [row] = await server.query<Record<string, string | null>>(
    `select archived_count::text as archived, failed_count::text as failed,
       last_archived_wal, (extract(epoch from last_archived_time) * 1000)::bigint::text as archived_ms,
       last_failed_wal, (extract(epoch from last_failed_time) * 1000)::bigint::text as failed_ms,
       (case when pg_catalog.pg_is_in_recovery() then pg_catalog.pg_last_wal_replay_lsn()
         else pg_catalog.pg_current_wal_lsn() end)::text as lsn
     from pg_catalog.pg_stat_archiver`,
  )
  const archived = eventOf(row?.['last_archived_wal'], row?.['archived_ms'])
  const failed = eventOf(row?.['last_failed_wal'], row?.['failed_ms'])
  const lsn = row?.['lsn']
  return {
    mode: facts.archiveMode,
    command: facts.archiveCommand,
    library: facts.archiveLibrary,
    inRecovery: facts.inRecovery,
    segmentSize: facts.walSegmentSize,
    archivedCount: Number(row?.['archived'] ?? 0),
    failedCount: Number(row?.['failed'] ?? 0),
    lsn: lsn == null ? undefined : parseLsn(lsn),
    lastArchived: archived,
    lastFailed: failed,
  }
}

function eventOf(file: string | null | undefined, timeMs: string | null | undefined): FileEvent | undefined {
  return file == null || file === '' || timeMs == null ? undefined : { file, timeMs: Number(timeMs) }
}

function readQueue({ pgPath, spoolPath, stanza }: ArchivingPlace): QueueFacts | undefined {
  const walPath = bytes`${pgPath}/pg_wal`
  const out = spoolPath === undefined ? undefined : spoolPaths(spoolPath, stanza).out
  try {
    const { waiting, acknowledged, waitingBytes } = readReadyQueue(walPath, out)
    const done = new Map<string, number>()
    for (const name of namesIn(bytes`${walPath}/archive_status`)) {
      if (!name.endsWith('.done')) continue
      // PostgreSQL renames `.ready` to `.done`, which sets the ctime.
      const stat = statSync(pathOf(bytes`${walPath}/archive_status/${name}`), { throwIfNoEntry: false })
      if (stat !== undefined) done.set(name.slice(0, -5), stat.ctimeMs)
    }
    const [first] = waiting
    const mark = first === undefined ? undefined : bytes`${walPath}/archive_status/${first}.ready`
    const since = mark === undefined ? undefined : statSync(pathOf(mark), { throwIfNoEntry: false })?.mtimeMs
    const last = waiting.at(-1)
    return {
      files: waiting.length,
      bytes: waitingBytes,
      first,
      last,
      sinceMs: since,
      acknowledged: acknowledged.length,
      done,
      ready: new Set([...waiting, ...acknowledged]),
    }
  } catch {
    return undefined
  }
}

function readSpool(spoolPath: string, stanza: string): SpoolFacts | undefined {
  const spool = spoolPaths(spoolPath, stanza)
  try {
    if (statSync(pathOf(spool.root), { throwIfNoEntry: false }) === undefined) return undefined
    const [pushPid, getPid, status] = [livingPid(spool, 'push'), livingPid(spool, 'get'), readPushStatus(spool)]
    return {
      path: decodeUtf8(spool.root),
      pushPid,
      getPid,
      status,
      errors: messagesIn(spool.out, '.error'),
      warnings: messagesIn(spool.out, '.ok'),
      fetched: namesIn(spool.in).filter((name) => /^[0-9A-F]{24}$/.test(name)).length,
      fetchErrors: messagesIn(spool.in, '.error'),
    }
  } catch {
    return undefined
  }
}

/** Status files with a message, the newest first. */
function messagesIn(directory: ByteString, ending: '.ok' | '.error'): SpoolMessage[] {
  const found: SpoolMessage[] = []
  for (const name of namesIn(directory)) {
    if (!name.endsWith(ending)) continue
    const file = readIfExists(bytes`${directory}/${name}`)
    const match = /^(\d{1,3})\n([^]*)$/.exec(file?.text ?? '')
    if (file === undefined || match === null) continue
    found.push({
      file: bytesToText(name.slice(0, -ending.length)),
      timeMs: Number(file.mtimeNs / 1_000_000n),
      code: Number(match[1]),
      message: bytesToLines(asBytes((match[2] ?? '').trim())),
    })
  }
  return found.sort((a, b) => b.timeMs - a.timeMs)
}

function namesIn(directory: ByteString): ByteString[] {
  try {
    return readdirSync(pathOf(directory), { encoding: 'latin1' }).map(asBytes)
  } catch {
    return []
  }
}
