import { expect, test } from 'vitest'
import { checkControlReached, lastWalFile } from '../../../src/postgres/backup-session.ts'
import { formatLsn, parseLsn, walFileOf } from '../../../src/util/lsn.ts'
import { backupCalls, postgresVersion, versionOfServer, walFunctions } from '../../../src/postgres/versions.ts'
import { checkWalBelongsTo, parseWalHeader, WAL_HEADER_BYTES } from '../../../src/postgres/wal-header.ts'

const MiB = 1024 * 1024

function aWalHeader(change: (bytes: Buffer) => void = () => undefined): Buffer {
  const bytes = Buffer.alloc(WAL_HEADER_BYTES)
  bytes.writeUInt16LE(0xd110, 0)
  bytes.writeUInt16LE(0x0007, 2)
  bytes.writeUInt32LE(5, 4)
  bytes.writeBigUInt64LE(0x2_0300_0000n, 8)
  bytes.writeBigUInt64LE(18446744073709551615n, 24)
  bytes.writeUInt32LE(16 * MiB, 32)
  bytes.writeUInt32LE(8192, 36)
  change(bytes)
  return bytes
}

test('reads system identifier and version from the header of a WAL segment', () => {
  expect(parseWalHeader(aWalHeader())).toEqual({
    version: '15',
    systemId: 18446744073709551615n,
    timeline: 5,
    pageLsn: 0x203000000n,
    segmentSize: 16 * MiB,
  })
})

test.each([
  ['an unknown magic', (b: Buffer) => b.writeUInt16LE(0xd1ff, 0), 'version-not-supported', /0xd1ff/],
  ['a short header', (b: Buffer) => b.writeUInt16LE(0x0001, 2), 'format', /long header/],
  ['an odd segment size', (b: Buffer) => b.writeUInt32LE(16 * MiB + 1, 32), 'format', /segment size/],
  ['a segment of zeros', (b: Buffer) => b.fill(0), 'format', /long header/],
] as const)('%s is refused', (_, change, code, message) => {
  expect(() => parseWalHeader(aWalHeader(change))).toThrow(
    expect.objectContaining({ code, message: expect.stringMatching(message) as string }),
  )
})

test('a WAL header with too few bytes is refused', () => {
  expect(() => parseWalHeader(Buffer.alloc(39))).toThrow(/39 bytes/)
})

test('a segment of another cluster is refused', () => {
  const header = parseWalHeader(aWalHeader())
  checkWalBelongsTo(header, { version: '15', systemId: 18446744073709551615n }, 'x')
  // A difference below 2^53 would be lost in a double.
  for (const cluster of [
    { version: '15', systemId: 18446744073709551614n },
    { version: '16', systemId: 18446744073709551615n },
  ]) {
    expect(() => checkWalBelongsTo(header, cluster, 'x')).toThrow(
      expect.objectContaining({ code: 'archive-mismatch', exitCode: 44 }),
    )
  }
})

test('converts LSNs between text and numbers', () => {
  expect(parseLsn('16/B374D848')).toBe(0x16b374d848n)
  expect(formatLsn(0x16b374d848n)).toBe('16/B374D848')
  expect(formatLsn(0n)).toBe('0/0')
  expect(parseLsn('FFFFFFFF/FFFFFFFF')).toBe(2n ** 64n - 1n)
  for (const text of ['', '1', '/', '1/', '1/123456789', 'x/1', '1/2/3'])
    expect(() => parseLsn(text)).toThrow(/not an LSN/)
})

test('a segment name is computed from an LSN in it', () => {
  expect(walFileOf(0x16b374d848n, 10, 16 * MiB)).toBe('0000000A00000016000000B3')
  expect(walFileOf(0x1_ffff_ffffn, 1, 16 * MiB)).toBe('0000000100000001000000FF')
  expect(walFileOf(0x1_ffff_ffffn, 1, MiB)).toBe('000000010000000100000FFF')
  expect(walFileOf(0x1_ffff_ffffn, 1, 1024 * MiB)).toBe('000000010000000100000003')
})

test('an LSN on a segment boundary needs the segment before it', () => {
  expect(lastWalFile('0/5000000', '000000020000000000000005', 16 * MiB)).toBe('000000020000000000000004')
  expect(lastWalFile('0/5000000', '000000020000000000000004', 16 * MiB)).toBe('000000020000000000000004')
  expect(lastWalFile('0/5000028', '000000020000000000000005', 16 * MiB)).toBe('000000020000000000000005')
  expect(lastWalFile('2/0', '000000010000000200000000', 16 * MiB)).toBe('0000000100000001000000FF')
})

test('a backup requires pg_control with its checkpoint or a later one', () => {
  const control = { checkpointLsn: 0x5000060n, timeline: 2 } as Parameters<typeof checkControlReached>[0]
  checkControlReached(control, { lsn: '0/5000028', walFile: '000000020000000000000005' })
  for (const start of [
    { lsn: '0/5000061', walFile: '000000020000000000000005' },
    { lsn: '0/5000028', walFile: '000000030000000000000005' },
  ]) {
    expect(() => checkControlReached(control, start)).toThrow(
      expect.objectContaining({ code: 'db-mismatch', exitCode: 58 }),
    )
  }
})

test('finds the version row for the version number of a server', () => {
  expect([90603, 100023, 150018, 180004].map((number) => versionOfServer(number).version)).toEqual([
    '9.6',
    '10',
    '15',
    '18',
  ])
  expect(() => versionOfServer(80404)).toThrow(expect.objectContaining({ code: 'version-not-supported' }))
  expect(() => postgresVersion('8.4')).toThrow(/8.4/)
})

test('uses the function names of the PostgreSQL version', () => {
  expect(backupCalls(postgresVersion('9.6'), true)).toEqual({
    start: 'pg_start_backup($1, true, false)',
    stop: 'pg_stop_backup(false)',
  })
  expect(backupCalls(postgresVersion('14'), false)).toEqual({
    start: 'pg_start_backup($1, false, false)',
    stop: 'pg_stop_backup(false, false)',
  })
  expect(backupCalls(postgresVersion('15'), true)).toEqual({
    start: 'pg_backup_start($1, true)',
    stop: 'pg_backup_stop(false)',
  })
  expect(walFunctions(postgresVersion('9.6')).switchWal).toBe('pg_switch_xlog')
})
