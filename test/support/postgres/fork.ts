import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseControlFile } from '../../../src/postgres/control-file.ts'
import { crc32c } from '../../../src/postgres/crc32c.ts'
import { postgresVersion } from '../../../src/postgres/versions.ts'

export const FORK_CATALOG = 209912311

/**
 * Makes the control file of a stopped cluster of PostgreSQL 15 that of a fork: another catalog version, and 16 bytes of
 * its own before the CRC.
 *
 * @returns the system identifier
 */
export function makeFork(dataDir: string): bigint {
  const path = join(dataDir, 'global/pg_control')
  const control = readFileSync(path)
  const { systemId } = parseControlFile(control)
  const { crc } = postgresVersion('15').control
  control.writeUInt32LE(FORK_CATALOG, 12)
  control.fill(0xab, crc, crc + 16)
  control.writeUInt32LE(crc32c(control.subarray(0, crc + 16)), crc + 16)
  writeFileSync(path, control)
  return systemId
}
