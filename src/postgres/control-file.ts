import { readAll } from '../util/bytes.ts'
import { bytes, bytesToText, type ByteString } from '../util/byte-string.ts'
import { systemClock, type Clock } from '../util/clock.ts'
import { PgtsError } from '../util/error.ts'
import type { ClusterFiles, ForcedVersion } from './cluster-access.ts'
import { crc32c } from './crc32c.ts'
import { POSTGRES_VERSIONS, postgresVersion, versionHints, type PostgresVersion } from './versions.ts'

/** The content of pg_control. LSNs are byte positions in the WAL. */
export interface ControlFile {
  /** The 512 bytes in use, as read. */
  readonly bytes: Buffer
  readonly postgres: PostgresVersion
  /** As recorded in repositories: `15`. */
  readonly version: string
  readonly systemId: bigint
  readonly controlVersion: number
  readonly catalogVersion: number
  readonly state: ClusterState
  readonly checkpointLsn: bigint
  readonly redoLsn: bigint
  readonly timeline: number
  /** Recovery must replay at least to here; of a server that was stopped in recovery its last position. */
  readonly minRecoveryLsn: bigint
  /** Bytes. */
  readonly pageSize: number
  /** Pages in one segment file of a relation: 131072 with 8 KiB pages. */
  readonly segmentBlocks: number
  /** Bytes. */
  readonly walSegmentSize: number
  /** 0: no data checksums. */
  readonly dataChecksumVersion: number
}

/** State of the cluster when pg_control was last written. */
export type ClusterState =
  | 'starting-up'
  | 'shut-down'
  | 'shut-down-in-recovery'
  | 'shutting-down'
  | 'in-crash-recovery'
  | 'in-archive-recovery'
  | 'in-production'

const STATES: readonly ClusterState[] = [
  'starting-up',
  'shut-down',
  'shut-down-in-recovery',
  'shutting-down',
  'in-crash-recovery',
  'in-archive-recovery',
  'in-production',
]

/** Bytes of pg_control that PostgreSQL writes at once; the rest of the file is zero. */
export const CONTROL_DATA_BYTES = 512
export const CONTROL_FILE_BYTES = 8192
export const CONTROL_FILE_NAME = 'global/pg_control'

/**
 * The checkpoint of a restored pg_control: there is no WAL at this position, so the server cannot start without
 * backup_label.
 */
const INVALID_CHECKPOINT = 0xdeadn

const SYSTEM_ID = 0
const CONTROL_VERSION = 8
const CATALOG_VERSION = 12
const STATE = 16
const CHECKPOINT = 32

/**
 * Parse pg_control: at least the first 512 bytes of it.
 * Errors: [046] an unknown version, [026] the CRC is wrong, [029] too short or impossible sizes.
 */
export function parseControlFile(bytes: Buffer, options: ForcedVersion = {}): ControlFile {
  if (bytes.length < CONTROL_DATA_BYTES) {
    throw new PgtsError('format', `pg_control has ${bytes.length} bytes, expected at least ${CONTROL_DATA_BYTES}`)
  }
  const controlVersion = bytes.readUInt32LE(CONTROL_VERSION)
  const catalogVersion = bytes.readUInt32LE(CATALOG_VERSION)
  const row =
    options.versionForce !== undefined
      ? postgresVersion(options.versionForce)
      : POSTGRES_VERSIONS.find((row) => row.controlVersion === controlVersion && row.catalogVersion === catalogVersion)
  if (row === undefined) {
    throw new PgtsError(
      'version-not-supported',
      `pg_control has control version ${controlVersion} and catalog version ${catalogVersion}, which are not supported`,
      { hints: versionHints() },
    )
  }
  const at = row.control
  crcOffset(bytes, row, options)
  const control: ControlFile = {
    bytes: Buffer.from(bytes.subarray(0, CONTROL_DATA_BYTES)),
    postgres: row,
    version: row.version,
    systemId: bytes.readBigUInt64LE(SYSTEM_ID),
    controlVersion,
    catalogVersion,
    state: STATES[bytes.readUInt32LE(STATE)] ?? 'starting-up',
    checkpointLsn: bytes.readBigUInt64LE(CHECKPOINT),
    redoLsn: bytes.readBigUInt64LE(at.redo),
    timeline: bytes.readUInt32LE(at.timeline),
    minRecoveryLsn: bytes.readBigUInt64LE(at.redo + minRecoveryOffset(row)),
    pageSize: bytes.readUInt32LE(at.pageSize),
    segmentBlocks: bytes.readUInt32LE(at.segmentBlocks),
    walSegmentSize: bytes.readUInt32LE(at.walSegmentSize),
    dataChecksumVersion: bytes.readUInt32LE(at.dataChecksumVersion),
  }
  checkPowerOfTwo('page size', control.pageSize, 1024, 32768)
  checkWalSegmentSize(control.walSegmentSize)
  if (control.dataChecksumVersion > 1) {
    throw new PgtsError(
      'format',
      `pg_control has data checksum version ${control.dataChecksumVersion}, expected 0 or 1`,
    )
  }
  return control
}

/**
 * Position of the CRC. A fork may have fields of its own before it, after all fields of PostgreSQL; so with a forced
 * version later positions are tried as well.
 *
 * @throws PgtsError checksum if there is no valid CRC
 */
function crcOffset(bytes: Buffer, { control: { crc } }: PostgresVersion, { versionForce }: ForcedVersion): number {
  const last = versionForce === undefined ? crc : CONTROL_DATA_BYTES - CRC_BYTES
  for (let at = crc; at <= last; at += CRC_BYTES)
    if (crc32c(bytes.subarray(0, at)) === bytes.readUInt32LE(at)) return at
  const [expected, actual] = [bytes.readUInt32LE(crc), crc32c(bytes.subarray(0, crc))]
  throw new PgtsError('checksum', `pg_control has CRC ${hex(expected)}, but its content gives ${hex(actual)}`, {
    hints:
      versionForce === undefined
        ? ['pg_control is corrupt: the cluster would not start']
        : [`pg_control is corrupt, or its layout is not that of pg-version-force=${versionForce}`],
  })
}
const CRC_BYTES = 4

/** minRecoveryPoint follows the copy of the checkpoint, which begins with redo, and unloggedLSN. */
function minRecoveryOffset({ number }: PostgresVersion): number {
  const checkpointBytes = number < FULL_XID_SINCE ? 80 : 88
  return checkpointBytes + 8
}
/** Since this version a checkpoint has a transaction id of 64 bits. */
const FULL_XID_SINCE = 120_000

/** [029] unless a power of two from 1 MiB to 1 GiB. */
export function checkWalSegmentSize(sizeBytes: number): void {
  checkPowerOfTwo('WAL segment size', sizeBytes, 1024 * 1024, 1024 * 1024 * 1024)
}

function checkPowerOfTwo(what: string, value: number, lowest: number, highest: number): void {
  if (value >= lowest && value <= highest && (value & (value - 1)) === 0) return
  throw new PgtsError('format', `${what} is ${value}, expected a power of two from ${lowest} to ${highest}`)
}

/** Pause between two reads of a pg_control that is being written. */
const REREAD_MS = 50
const REREADS = 200

/**
 * Read and parse pg_control of the cluster in `pgPath`. A running server may rewrite it at the same time, so an invalid one is
 * read again until it is valid, or is invalid and no longer changes.
 * Errors: those of `parseControlFile`, and [055] if it does not exist.
 */
export async function readControlFile(
  files: ClusterFiles,
  pgPath: string,
  options: { readonly clock?: Pick<Clock, 'sleep'>; readonly signal?: AbortSignal } = {},
): Promise<ControlFile> {
  const path = bytes`${pgPath}/${CONTROL_FILE_NAME}`
  let last: Buffer | undefined
  for (let attempt = 1; ; attempt++) {
    const bytes = await readBytes(files, path)
    try {
      return parseControlFile(bytes, files)
    } catch (error) {
      if (last?.equals(bytes) === true || attempt === REREADS) {
        if (!(error instanceof PgtsError)) throw error
        throw new PgtsError(error.code, `cannot use ${bytesToText(path)}: ${error.message}`, {
          hints: error.hints,
          cause: error,
        })
      }
      last = bytes
      await (options.clock ?? systemClock).sleep(REREAD_MS, options.signal)
    }
  }
}

async function readBytes(files: ClusterFiles, path: ByteString): Promise<Buffer> {
  const source = await files.open(path, { maxBytes: CONTROL_DATA_BYTES, buffer: Buffer.alloc(CONTROL_DATA_BYTES) })
  if (source === undefined) {
    throw new PgtsError('file-missing', `unable to open missing file '${bytesToText(path)}' for read`, {
      hints: ['check that pg1-path is the data directory of a PostgreSQL cluster'],
    })
  }
  return readAll(source)
}

/** pg_control as it is stored in a backup: 512 bytes and a tail of zeros, 8192 in all. */
export function zeroTailed(bytes: Uint8Array): Buffer {
  const stored = Buffer.alloc(CONTROL_FILE_BYTES)
  stored.set(bytes.subarray(0, CONTROL_DATA_BYTES))
  return stored
}

/**
 * pg_control of a restored online backup: its checkpoint is set to an impossible position, so that a server without
 * backup_label refuses to start instead of recovering from a wrong position. Length and other bytes do not change.
 */
export function invalidateCheckpoint(bytes: Buffer, options: ForcedVersion = {}): Buffer {
  const { postgres } = parseControlFile(bytes, options)
  const changed = Buffer.from(bytes)
  changed.writeBigUInt64LE(INVALID_CHECKPOINT, CHECKPOINT)
  const { priorCheckpoint } = postgres.control
  if (priorCheckpoint !== undefined) changed.writeBigUInt64LE(INVALID_CHECKPOINT, priorCheckpoint)
  const crc = crcOffset(bytes, postgres, options)
  changed.writeUInt32LE(crc32c(changed.subarray(0, crc)), crc)
  return changed
}

/** True if this pg_control was restored and no server has started since, so recovery has not begun. */
export function isCheckpointInvalidated(control: ControlFile): boolean {
  return control.checkpointLsn === INVALID_CHECKPOINT
}

function hex(value: number): string {
  return value.toString(16).padStart(8, '0')
}
