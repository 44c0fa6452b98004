import { PgtsError } from '../util/error.ts'
import { byteString, bytesOf, type ServerConnection } from './client.ts'
import type { ControlFile } from './control-file.ts'
import { formatLsn, parseLsn, walFileOf } from '../util/lsn.ts'
import { backupCalls, requireBackupSupport, walFunctions, type PostgresVersion } from './versions.ts'
import type { ByteString } from '../util/byte-string.ts'

/** A point in the WAL: its LSN as text of the server, and the segment that contains it. */
export interface WalPosition {
  readonly lsn: string
  readonly walFile: string
}

export interface BackupStartPoint extends WalPosition {
  /**
   * Segment that was being written before the backup began; with archive-check it must reach the archive first. Absent on
   * a standby.
   */
  readonly walFileBefore?: string
  /** Before the start, milliseconds since the epoch by the server's clock. */
  readonly timeMs: number
}

export interface BackupStopPoint extends WalPosition {
  /** After the stop, milliseconds since the epoch by the server's clock. */
  readonly timeMs: number
  /** Content of the file backup_label, byte for byte (byte string). */
  readonly backupLabel: string
  /** Content of the file tablespace_map; undefined when it is blank. */
  readonly tablespaceMap: string | undefined
}

/** Backup mode of a server. Without `finish()` it ends with the connection, and the server aborts the backup. */
export interface BackupSession extends AsyncDisposable {
  readonly start: BackupStartPoint
  /** End backup mode. Does not wait for WAL to be archived. */
  finish(): Promise<BackupStopPoint>
}

/**
 * Start a non-exclusive backup. Waits for a checkpoint: with `startFast` an immediate one,
 * else one spread over checkpoint_completion_target, which `timeoutMs` must allow for.
 *
 * Errors: [057] when the server refuses, [046] for a version that pgts cannot back up.
 */
export async function beginBackup(
  connection: ServerConnection,
  options: { readonly startFast: boolean; readonly timeoutMs?: number },
): Promise<BackupSession> {
  const { postgres } = connection.facts
  requireBackupSupport(postgres)
  const [before] = await connection.query<{ ms: string; wal_file: string | null }>(
    `select ${TIME_MS} as ms, ${connection.facts.inRecovery ? 'null' : currentWalFile(postgres)} as wal_file`,
  )
  const walFileBefore = before!.wal_file ?? undefined
  const label = `'pgts backup started at ' || current_timestamp::text`
  const [row] = await connection.query<{ lsn: string; wal_file: string | null }>(
    `select lsn::text as lsn, ${walFileOfLsn(connection)} as wal_file
     from pg_catalog.${backupCalls(postgres, options.startFast, label).start} as lsn`,
    [],
    options.timeoutMs === undefined ? {} : { timeoutMs: options.timeoutMs },
  )
  if (row === undefined) throw new PgtsError('db-query', 'the server started the backup without returning its LSN')
  const { lsn } = row
  const walFile = row.wal_file ?? (await standbyWalFile(connection, lsn))
  const timeMs = Number(before!.ms)
  return new Session(connection, { lsn, walFile, timeMs, ...(walFileBefore === undefined ? {} : { walFileBefore }) })
}

/** A standby refuses to name segments. */
function walFileOfLsn({ facts }: ServerConnection): string {
  return facts.inRecovery ? 'null' : `pg_catalog.${walFunctions(facts.postgres).walFileName}(lsn)::text`
}

/** A backup on a standby begins on the timeline of its last checkpoint. */
async function standbyWalFile(connection: ServerConnection, lsn: string): Promise<string> {
  const [row] = await connection.query<{ timeline: number }>(
    'select timeline_id as timeline from pg_catalog.pg_control_checkpoint()',
  )
  return walFileOf(parseLsn(lsn), row!.timeline, connection.facts.walSegmentSize)
}

interface StopRow {
  readonly lsn: string
  readonly wal_file: string | null
  readonly label: unknown
  readonly map: unknown
  readonly ms: string
}

class Session implements BackupSession {
  readonly start: BackupStartPoint
  readonly #connection: ServerConnection
  #state: 'begun' | 'finished' = 'begun'

  constructor(connection: ServerConnection, start: BackupStartPoint) {
    this.#connection = connection
    this.start = start
  }

  async finish(): Promise<BackupStopPoint> {
    if (this.#state !== 'begun') throw new PgtsError('assert', 'the backup was finished already')
    const { postgres, walSegmentSize } = this.#connection.facts
    const [row] = await this.#connection.query<StopRow>(
      `select lsn::text as lsn, ${walFileOfLsn(this.#connection)} as wal_file,
         ${bytesOf('labelfile')} as label, ${bytesOf('spcmapfile')} as map, ${TIME_MS} as ms
       from pg_catalog.${backupCalls(postgres, true).stop}`,
    )
    if (row === undefined) throw new PgtsError('db-query', 'the server stopped the backup without returning its LSN')
    this.#state = 'finished'
    const map = byteString(row.map)
    const backupLabel = byteString(row.label)
    const walFile = row.wal_file ?? (await this.#standbyStop(backupLabel))
    return {
      lsn: row.lsn,
      walFile: lastWalFile(row.lsn, walFile, walSegmentSize),
      backupLabel,
      tablespaceMap: map.trim() === '' ? undefined : map,
      timeMs: Number(row.ms),
    }
  }

  /**
   * A segment on the timeline of the stop. WAL of two timelines cannot be stored as one range, and the standby may have
   * followed its primary to another one.
   */
  async #standbyStop(backupLabel: ByteString): Promise<string> {
    const [row] = await this.#connection.query<{ timeline: number }>(
      'select min_recovery_end_timeline as timeline from pg_catalog.pg_control_recovery()',
    )
    const { walFile } = this.start
    const timeline = parseInt(walFile.slice(0, 8), 16)
    if (row!.timeline === timeline && backupLabel.includes(`(file ${walFile})`)) return walFile
    throw new PgtsError(
      'db-mismatch',
      `the standby changed from timeline ${timeline} to timeline ${row!.timeline} during the backup`,
      { hints: ['its primary was promoted or restored: run the backup again'] },
    )
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#state === 'begun') await this.#connection[Symbol.asyncDispose]()
  }
}

/**
 * The last segment that a backup needs: the one with the byte before `lsn`. If the LSN is the border of two segments,
 * servers before 17 return the segment that ends there, later ones the segment that begins there, which is not archived
 * until something is written to it.
 */
export function lastWalFile(lsn: string, walFile: string, walSegmentSize: number): string {
  return walFileOf(parseLsn(lsn) - 1n, parseInt(walFile.slice(0, 8), 16), walSegmentSize)
}

/**
 * Checks that pg_control, read after the start of the backup, has the checkpoint of that backup on its timeline; else
 * [058]. This fails if pg1-path is the directory of another cluster than the connected one, or of a copy of it.
 */
export function checkControlReached(control: ControlFile, start: WalPosition): void {
  const hints = ['check that pg1-path is the data directory of the connected server']
  if (control.checkpointLsn < parseLsn(start.lsn)) {
    throw new PgtsError(
      'db-mismatch',
      `pg_control has its checkpoint at ${formatLsn(control.checkpointLsn)}, before the start of the backup at ${start.lsn}`,
      { hints },
    )
  }
  const timeline = parseInt(start.walFile.slice(0, 8), 16)
  if (control.timeline === timeline) return
  throw new PgtsError(
    'db-mismatch',
    `the server writes timeline ${timeline}, but pg_control is on timeline ${control.timeline}`,
    { hints },
  )
}

/** Name of the segment that is being written. */
export async function currentWalSegment(connection: ServerConnection): Promise<string> {
  const [row] = await connection.query<{ wal_file: string }>(
    `select ${currentWalFile(connection.facts.postgres)} as wal_file`,
  )
  return row!.wal_file
}

function currentWalFile(postgres: PostgresVersion): string {
  const names = walFunctions(postgres)
  return `pg_catalog.${names.walFileName}(pg_catalog.${names.currentInsertLsn}())::text`
}

/** Begin a new segment, so that the current one is archived; its name. The restore point makes sure that the current one is not empty. */
export async function switchWal(connection: ServerConnection, restorePoint = 'pgts archive check'): Promise<string> {
  const { postgres, walSegmentSize } = connection.facts
  await connection.query('select pg_catalog.pg_create_restore_point($1)::text', [restorePoint])
  const names = walFunctions(postgres)
  const [row] = await connection.query<{ lsn: string; wal_file: string }>(
    `select lsn::text as lsn, pg_catalog.${names.walFileName}(lsn)::text as wal_file from pg_catalog.${names.switchWal}() as lsn`,
  )
  return lastWalFile(row!.lsn, row!.wal_file, walSegmentSize)
}

/** Milliseconds since the epoch, by the server's clock. */
export async function serverTimeMs(connection: ServerConnection): Promise<number> {
  const [row] = await connection.query<{ ms: string }>(`select ${TIME_MS} as ms`)
  return Number(row!.ms)
}

const TIME_MS = '(extract(epoch from pg_catalog.clock_timestamp()) * 1000)::bigint::text'

/** A database as the manifest lists it; the name is a byte string. */
export interface ListedDatabase {
  readonly name: ByteString
  readonly oid: number
  /** Oid of template0, 0 when it does not exist. Written for the format; no program reads it. */
  readonly lastSystemOid: number
}

/** All databases, templates included, by name. */
export async function listDatabases(connection: ServerConnection): Promise<ListedDatabase[]> {
  const rows = await connection.query<{ oid: string; name: unknown; last: string | null }>(
    `select oid::text as oid, ${bytesOf('datname')} as name,
       (select oid::text from pg_catalog.pg_database where datname = 'template0') as last
     from pg_catalog.pg_database`,
  )
  return rows
    .map((row) => ({ name: byteString(row.name), oid: Number(row.oid), lastSystemOid: Number(row.last ?? 0) }))
    .sort((a, b) => (a.name < b.name ? -1 : 1))
}

/** Oid to name (byte string) of all tablespaces, the two built-in ones included. */
export async function listTablespaces(connection: ServerConnection): Promise<Map<number, ByteString>> {
  const rows = await connection.query<{ oid: string; name: unknown }>(
    `select oid::text as oid, ${bytesOf('spcname')} as name from pg_catalog.pg_tablespace`,
  )
  return new Map(rows.map((row) => [Number(row.oid), byteString(row.name)]))
}
