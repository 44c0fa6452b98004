import type { ForcedVersion } from './cluster-access.ts'
import { PgtsError } from '../util/error.ts'
import { checkWalSegmentSize } from './control-file.ts'
import { POSTGRES_VERSIONS, postgresVersion, versionHints } from './versions.ts'

/** The head of the first page of a WAL segment. */
export interface WalHeader {
  /** As recorded in repositories: `15`. */
  readonly version: string
  readonly systemId: bigint
  readonly timeline: number
  /** LSN of the first byte of the segment. */
  readonly pageLsn: bigint
  /** Bytes. */
  readonly segmentSize: number
}

/** Number of bytes that `parseWalHeader` needs. */
export const WAL_HEADER_BYTES = 512

const LONG_HEADER = 0x0002
const HEADER_FIELDS_BYTES = 40

/**
 * Parse the first page header of a WAL segment; the layout is the same from 9.5 to 18.
 * Errors: [029] no long header, too short, or an invalid segment size; [046] an unknown magic number.
 */
export function parseWalHeader(bytes: Uint8Array, options: ForcedVersion = {}): WalHeader {
  if (bytes.length < HEADER_FIELDS_BYTES) {
    throw new PgtsError('format', `the WAL file has ${bytes.length} bytes, too few for the header of its first page`)
  }
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  if ((view.getUint16(2, true) & LONG_HEADER) === 0) {
    throw new PgtsError('format', 'the first page of the WAL file has no long header', {
      hints: ['check that the file is a WAL segment'],
    })
  }
  const magic = view.getUint16(0, true)
  const row =
    options.versionForce !== undefined
      ? postgresVersion(options.versionForce)
      : POSTGRES_VERSIONS.find((row) => row.walMagic === magic)
  if (row === undefined) {
    throw new PgtsError(
      'version-not-supported',
      `the WAL file has magic number 0x${magic.toString(16)}, which is not supported`,
      {
        hints: versionHints(),
      },
    )
  }
  const header: WalHeader = {
    version: row.version,
    systemId: view.getBigUint64(24, true),
    timeline: view.getUint32(4, true),
    pageLsn: view.getBigUint64(8, true),
    segmentSize: view.getUint32(32, true),
  }
  checkWalSegmentSize(header.segmentSize)
  return header
}

/** [044] when the segment was written by another cluster, or by another major version of it. */
export function checkWalBelongsTo(
  header: WalHeader,
  cluster: { readonly version: string; readonly systemId: bigint },
  display: string,
): void {
  if (header.version === cluster.version && header.systemId === cluster.systemId) return
  throw new PgtsError(
    'archive-mismatch',
    `WAL file ${display} has version ${header.version} and system id ${header.systemId}, ` +
      `but the stanza has version ${cluster.version} and system id ${cluster.systemId}`,
    { hints: ['check that the server archives to the correct stanza'] },
  )
}
