import { PgtsError } from '../util/error.ts'

/** Byte offsets inside pg_control (64-bit, little-endian servers). */
export interface ControlOffsets {
  /** Before 11 pg_control also has the previous checkpoint, which the server uses if it cannot read the latest one. */
  readonly priorCheckpoint: number | undefined
  readonly redo: number
  readonly timeline: number
  readonly pageSize: number
  readonly segmentBlocks: number
  readonly walPageSize: number
  readonly walSegmentSize: number
  readonly dataChecksumVersion: number
  readonly crc: number
}

/** The differences between major versions of PostgreSQL; defined only here. */
export interface PostgresVersion {
  /** As recorded in repositories: `9.6`, `15`. */
  readonly version: string
  /** First `server_version_num` of the major version: 90600, 150000. */
  readonly number: number
  readonly controlVersion: number
  readonly catalogVersion: number
  /** First two bytes of every WAL page. */
  readonly walMagic: number
  /** pgts can back it up. The other versions are listed so that their repositories can be read. */
  readonly backup: boolean
  readonly control: ControlOffsets
}

const offsets = (
  redo: number,
  timeline: number,
  pageSize: number,
  crc: number,
  priorCheckpoint?: number,
): ControlOffsets => ({
  priorCheckpoint,
  redo,
  timeline,
  pageSize,
  segmentBlocks: pageSize + 4,
  walPageSize: pageSize + 8,
  walSegmentSize: pageSize + 12,
  dataChecksumVersion: pageSize + 36,
  crc,
})

const control95 = offsets(48, 56, 216, 256, 40)
const control10 = offsets(48, 56, 216, 288, 40)
const control11 = offsets(40, 48, 208, 280)
const control12 = offsets(40, 48, 216, 288)
const control18 = offsets(40, 48, 216, 292)

/**
 * One row per major version, oldest first.
 * @see PostgreSQL, src/include/catalog/pg_control.h, catversion.h and access/xlog_internal.h
 */
// prettier-ignore
export const POSTGRES_VERSIONS: readonly PostgresVersion[] = [
  { version: '9.5', number:  90500, controlVersion:  942, catalogVersion: 201510051, walMagic: 0xd087, backup: false, control: control95 },
  { version: '9.6', number:  90600, controlVersion:  960, catalogVersion: 201608131, walMagic: 0xd093, backup: false, control: control95 },
  { version: '10',  number: 100000, controlVersion: 1002, catalogVersion: 201707211, walMagic: 0xd097, backup: true,  control: control10 },
  { version: '11',  number: 110000, controlVersion: 1100, catalogVersion: 201809051, walMagic: 0xd098, backup: true,  control: control11 },
  { version: '12',  number: 120000, controlVersion: 1201, catalogVersion: 201909212, walMagic: 0xd101, backup: true,  control: control12 },
  { version: '13',  number: 130000, controlVersion: 1300, catalogVersion: 202007201, walMagic: 0xd106, backup: true,  control: control12 },
  { version: '14',  number: 140000, controlVersion: 1300, catalogVersion: 202107181, walMagic: 0xd10d, backup: true,  control: control12 },
  { version: '15',  number: 150000, controlVersion: 1300, catalogVersion: 202209061, walMagic: 0xd110, backup: true,  control: control12 },
  { version: '16',  number: 160000, controlVersion: 1300, catalogVersion: 202307071, walMagic: 0xd113, backup: true,  control: control12 },
  { version: '17',  number: 170000, controlVersion: 1700, catalogVersion: 202406281, walMagic: 0xd116, backup: true,  control: control12 },
  { version: '18',  number: 180000, controlVersion: 1800, catalogVersion: 202506291, walMagic: 0xd118, backup: true,  control: control18 },
]

/** The row of a version as recorded in repositories (`15`); [046] for an unknown version. */
export function postgresVersion(version: string): PostgresVersion {
  const row = POSTGRES_VERSIONS.find((row) => row.version === version)
  if (row === undefined)
    throw new PgtsError('version-not-supported', `PostgreSQL ${version} is not supported`, { hints: versionHints() })
  return row
}

/** The row of a `server_version_num` (150018 is 15.18); [046] for an unknown version. */
export function versionOfServer(versionNum: number): PostgresVersion {
  const number = versionNum - (versionNum % (versionNum < 100000 ? 100 : 10000))
  const row = POSTGRES_VERSIONS.find((row) => row.number === number)
  if (row === undefined) {
    throw new PgtsError(
      'version-not-supported',
      `the server has version number ${versionNum}, which is not supported`,
      {
        hints: versionHints(),
      },
    )
  }
  return row
}

/** [046] for a version that pgts knows but cannot back up. */
export function requireBackupSupport(row: PostgresVersion): void {
  if (row.backup) return
  throw new PgtsError('version-not-supported', `PostgreSQL ${row.version} is not supported`, { hints: versionHints() })
}

export function versionHints(): string[] {
  const supported = POSTGRES_VERSIONS.filter((row) => row.backup)
  return [
    `pgts supports PostgreSQL ${supported[0]!.version} to ${supported.at(-1)!.version}`,
    'check that pgts is up to date on all hosts',
  ]
}

/** The one directory of a tablespace that belongs to this cluster: `PG_15_202209061`. */
export function tablespaceDirectory(row: PostgresVersion, catalogVersion: number = row.catalogVersion): string {
  return `PG_${row.version}_${catalogVersion}`
}

/** `pg_wal`, before 10 `pg_xlog`. */
export function walDirectory(row: PostgresVersion): string {
  return row.number >= 100000 ? 'pg_wal' : 'pg_xlog'
}

/** Transaction status: `pg_xact`, before 10 `pg_clog`. */
export function xactDirectory(row: PostgresVersion): string {
  return row.number >= 100000 ? 'pg_xact' : 'pg_clog'
}

/** Since 12 recovery is configured by signal files and settings, before by recovery.conf. */
export function hasRecoverySignals(row: PostgresVersion): boolean {
  return row.number >= 120000
}

/** Names of SQL functions, without schema. */
export interface WalFunctions {
  readonly walFileName: string
  readonly switchWal: string
  readonly currentInsertLsn: string
}

export function walFunctions(row: PostgresVersion): WalFunctions {
  return row.number >= 100000
    ? { walFileName: 'pg_walfile_name', switchWal: 'pg_switch_wal', currentInsertLsn: 'pg_current_wal_insert_lsn' }
    : {
        walFileName: 'pg_xlogfile_name',
        switchWal: 'pg_switch_xlog',
        currentInsertLsn: 'pg_current_xlog_insert_location',
      }
}

/** SQL calls that begin and end a non-exclusive backup. `label` is SQL. pgts waits for the archive itself. */
export function backupCalls(
  row: PostgresVersion,
  fast: boolean,
  label = '$1',
): { readonly start: string; readonly stop: string } {
  if (row.number >= 150000) return { start: `pg_backup_start(${label}, ${fast})`, stop: 'pg_backup_stop(false)' }
  const stop = row.number >= 100000 ? 'pg_stop_backup(false, false)' : 'pg_stop_backup(false)'
  return { start: `pg_start_backup(${label}, ${fast}, false)`, stop }
}
