import { readdirSync, statSync } from 'node:fs'
import { type Caller, readServerEnvironment, type ServerEnvironment } from './archive-program.ts'
import type { ServerConnection } from '../../../postgres/client.ts'
import { readPostmasterFile } from '../../../postgres/socket.ts'
import { bytesToLines, bytesToText, decodeUtf8, pathOf } from '../../../util/byte-string.ts'
import { parseLsn } from '../../../util/lsn.ts'
import { stopFileOf } from '../../../util/stop-file.ts'
import { readPushStatus, type FileEvent, type PushStatus } from './push-status.ts'
import { readReadyQueue } from '../push/ready-queue.ts'
import { readIfExists, spoolPaths } from '../spool/spool-files.ts'
import { livingPid } from '../spool/spool-lock.ts'

/** Where the traces of archiving are. */
export interface ArchivingPlace extends Caller {
  /** pg1-path, byte string. */
  readonly pgPath: string
  /** As text; absent: nothing is pushed in the background. */
  readonly spoolPath?: string
  /** As text. */
  readonly lockPath?: string
}

/** Everything that can be known on this host of how WAL gets, or does not get, into the archive. Times are ms since 1970. */
export interface ArchivingFacts extends Caller {
  readonly nowMs: number
  readonly pgPath: string
  /** Absent: the server was not asked, or did not answer. */
  readonly server?: ServerArchiving
  /** archive_status; absent: it cannot be read. */
  readonly queue?: QueueFacts
  /** Absent: there is none. */
  readonly spool?: SpoolFacts
  /** The stop file that stands. */
  readonly stopFile?: string
}

/** What the server says of its archiver. */
export interface ServerArchiving {
  readonly mode: 'off' | 'on' | 'always'
  /** Byte string; '' when there is none. */
  readonly command: string
  readonly library: string
  /** Of the server's process; absent: it cannot be read. */
  readonly environment?: ServerEnvironment
  readonly inRecovery: boolean
  /** Where it writes, on a standby where it replays. */
  readonly lsn?: bigint
  readonly segmentSize: number
  readonly archivedCount: number
  readonly failedCount: number
  readonly lastArchived?: FileEvent
  readonly lastFailed?: FileEvent
}

/** What PostgreSQL's own marks say. */
export interface QueueFacts {
  /** Files that wait. */
  readonly files: number
  readonly bytes: number
  readonly first?: string
  readonly last?: string
  /** When PostgreSQL asked for the first of them. */
  readonly sinceMs?: number
  /** Files that are safe, of which PostgreSQL does not know yet. */
  readonly acknowledged: number
  /** Files that PostgreSQL holds for archived, as far as their marks are there still. */
  readonly done: ReadonlyMap<string, number>
  readonly ready: ReadonlySet<string>
}

export interface SpoolFacts {
  /** Of this stanza, as text. */
  readonly path: string
  /** The background process of archive-push, when one lives. */
  readonly pushPid?: number
  readonly getPid?: number
  /** What it tells of itself, or told when it ended. */
  readonly status?: PushStatus
  /** `.error` files, the newest first. */
  readonly errors: readonly SpoolMessage[]
  /** `.ok` files that say more than that all is well. */
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
 * Look at everything. What is missing or may not be read is left out: this is asked when something is wrong already.
 *
 * @throws PgtsError when the server is given and its connection fails meanwhile
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

function environmentOf(pgPath: string): Pick<ServerArchiving, 'environment'> {
  const pid = readPostmasterFile(pgPath)?.pid
  const environment = pid === undefined ? undefined : readServerEnvironment(pid)
  return environment === undefined ? {} : { environment }
}

/** Only reported here: what is not trusted stops no archiving. */
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
  const walPath = `${pgPath}/pg_wal`
  const out = spoolPath === undefined ? `${walPath}/archive_status` : spoolPaths(spoolPath, stanza).out
  try {
    const { waiting, acknowledged, waitingBytes } = readReadyQueue(walPath, out)
    const done = new Map<string, number>()
    for (const name of namesIn(`${walPath}/archive_status`)) {
      if (!name.endsWith('.done')) continue
      // The mark was renamed: its inode tells when.
      const stat = statSync(pathOf(`${walPath}/archive_status/${name}`), { throwIfNoEntry: false })
      if (stat !== undefined) done.set(name.slice(0, -5), stat.ctimeMs)
    }
    const [first] = waiting
    const mark = first === undefined ? undefined : `${walPath}/archive_status/${first}.ready`
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

/** The status files with something in them, the newest first. */
function messagesIn(directory: string, ending: '.ok' | '.error'): SpoolMessage[] {
  const found: SpoolMessage[] = []
  for (const name of namesIn(directory)) {
    if (!name.endsWith(ending)) continue
    const file = readIfExists(`${directory}/${name}`)
    const match = /^(\d{1,3})\n([^]*)$/.exec(file?.text ?? '')
    if (file === undefined || match === null) continue
    found.push({
      file: bytesToText(name.slice(0, -ending.length)),
      timeMs: Number(file.mtimeNs / 1_000_000n),
      code: Number(match[1]),
      message: bytesToLines((match[2] ?? '').trim()),
    })
  }
  return found.sort((a, b) => b.timeMs - a.timeMs)
}

function namesIn(directory: string): string[] {
  try {
    return readdirSync(pathOf(directory), { encoding: 'latin1' })
  } catch {
    return []
  }
}
