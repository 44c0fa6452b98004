import { expect, test } from 'vitest'
import type { ClusterFiles } from '../../../src/postgres/cluster-access.ts'
import {
  CONTROL_FILE_BYTES,
  invalidateCheckpoint,
  isCheckpointInvalidated,
  parseControlFile,
  readControlFile,
  zeroTailed,
} from '../../../src/postgres/control-file.ts'
import { crc32c } from '../../../src/postgres/crc32c.ts'
import { POSTGRES_VERSIONS, postgresVersion, type PostgresVersion } from '../../../src/postgres/versions.ts'
import { sourceOf } from '../../../src/util/bytes.ts'

/** pg_control of a version, with a right CRC; the real ones are compared with real servers in test/integration. */
function aControlFile(postgres: PostgresVersion, change: (bytes: Buffer) => void = () => undefined): Buffer {
  const bytes = Buffer.alloc(CONTROL_FILE_BYTES)
  const at = postgres.control
  bytes.writeBigUInt64LE(6569239123849665679n, 0)
  bytes.writeUInt32LE(postgres.controlVersion, 8)
  bytes.writeUInt32LE(postgres.catalogVersion, 12)
  bytes.writeUInt32LE(6, 16)
  bytes.writeBigUInt64LE(0x16b374d848n, 32)
  bytes.writeBigUInt64LE(0x16b374d810n, at.redo)
  bytes.writeUInt32LE(3, at.timeline)
  bytes.writeUInt32LE(8192, at.pageSize)
  bytes.writeUInt32LE(131072, at.segmentBlocks)
  bytes.writeUInt32LE(16 * 1024 * 1024, at.walSegmentSize)
  bytes.writeUInt32LE(1, at.dataChecksumVersion)
  change(bytes)
  bytes.writeUInt32LE(crc32c(bytes.subarray(0, at.crc)), at.crc)
  return bytes
}

const pg15 = postgresVersion('15')

test('CRC-32C agrees with published values', () => {
  // RFC 3720, appendix B.4
  expect(crc32c(Buffer.alloc(32))).toBe(0x8a9136aa)
  expect(crc32c(Buffer.alloc(32, 0xff))).toBe(0x62a8ab43)
  expect(crc32c(Buffer.from(Array.from({ length: 32 }, (_, i) => i)))).toBe(0x46dd794e)
  expect(crc32c(Buffer.from('123456789'))).toBe(0xe3069283)
  expect(crc32c(Buffer.alloc(0))).toBe(0)
})

test.each(POSTGRES_VERSIONS)('reads pg_control of $version with exact 64-bit values', (postgres) => {
  expect(parseControlFile(aControlFile(postgres))).toMatchObject({
    version: postgres.version,
    state: 'in-production',
    systemId: 6569239123849665679n,
    checkpointLsn: 0x16b374d848n,
    redoLsn: 0x16b374d810n,
    timeline: 3,
    pageSize: 8192,
    segmentBlocks: 131072,
    walSegmentSize: 16777216,
    dataChecksumVersion: 1,
  })
})

test.each([
  [
    'another catalog version',
    aControlFile(pg15, (b) => b.writeUInt32LE(202209062, 12)),
    'version-not-supported',
    /202209062/,
  ],
  ['a flipped bit', flip(aControlFile(pg15), 40), 'checksum', /CRC/],
  ['a page size of 3000', aControlFile(pg15, (b) => b.writeUInt32LE(3000, 216)), 'format', /page size is 3000/],
  ['a segment size of 2 GiB', aControlFile(pg15, (b) => b.writeUInt32LE(2 ** 31, 228)), 'format', /WAL segment size/],
  [
    'a data checksum version of 2',
    aControlFile(pg15, (b) => b.writeUInt32LE(2, 252)),
    'format',
    /data checksum version 2/,
  ],
  ['too few bytes', Buffer.alloc(511), 'format', /511 bytes/],
] as const)('%s is refused', (_, bytes, code, message) => {
  expect(() => parseControlFile(bytes)).toThrow(
    expect.objectContaining({ code, message: expect.stringMatching(message) as string }),
  )
})

test('reads pg_control of a fork with the layout of the forced version', () => {
  const bytes = aControlFile(pg15, (b) => b.writeUInt32LE(999999999, 12))
  expect(parseControlFile(bytes, { versionForce: '15' })).toMatchObject({ version: '15', catalogVersion: 999999999 })
})

test('finds the CRC behind the additional fields of a fork, and only with a forced version', () => {
  const plain = aControlFile(pg15)
  const crc = pg15.control.crc + 24
  plain.writeUInt32LE(0xfeed, pg15.control.crc)
  plain.writeUInt32LE(crc32c(plain.subarray(0, crc)), crc)
  expect(() => parseControlFile(plain)).toThrow(expect.objectContaining({ code: 'checksum' }))
  expect(parseControlFile(plain, { versionForce: '15' })).toMatchObject({ version: '15', timeline: 3 })
  const invalidated = invalidateCheckpoint(plain, { versionForce: '15' })
  expect(isCheckpointInvalidated(parseControlFile(invalidated, { versionForce: '15' }))).toBe(true)
  expect(invalidated.readUInt32LE(pg15.control.crc)).toBe(0xfeed)
  plain.writeUInt32LE(1, 500)
  plain.writeUInt32LE(2, 60)
  expect(() => parseControlFile(plain, { versionForce: '15' })).toThrow(/pg_control has CRC/)
})

test('the stored pg_control has 512 bytes followed by zeros', () => {
  const stored = zeroTailed(Buffer.alloc(600, 7))
  expect(stored.length).toBe(8192)
  expect(stored.subarray(0, 512).equals(Buffer.alloc(512, 7))).toBe(true)
  expect(stored.subarray(512).equals(Buffer.alloc(8192 - 512))).toBe(true)
})

test.each(POSTGRES_VERSIONS)(
  'an invalidated checkpoint of $version changes checkpoints and the CRC only',
  (postgres) => {
    const bytes = aControlFile(postgres)
    const changed = invalidateCheckpoint(bytes)
    expect(isCheckpointInvalidated(parseControlFile(changed))).toBe(true)
    expect(isCheckpointInvalidated(parseControlFile(bytes))).toBe(false)
    expect(changed.readBigUInt64LE(40) === 0xdeadn).toBe(postgres.number < 110000)
    const differing = [...bytes.keys()].filter((i) => bytes[i] !== changed[i])
    const { crc } = postgres.control
    // A server before 11 would start from its older checkpoint, which is the next field.
    const end = postgres.number < 110000 ? 48 : 40
    expect(differing.every((i) => (i >= 32 && i < end) || (i >= crc && i < crc + 4))).toBe(true)
  },
)

function flip(bytes: Buffer, offset: number): Buffer {
  bytes[offset]! ^= 1
  return bytes
}

/** Returns one of `contents` at each read, the last one repeatedly. */
function looks(contents: (Buffer | undefined)[]) {
  let count = 0
  const files = {
    open: async (_path: string, options: { maxBytes?: number }) => {
      const bytes = contents[Math.min(count++, contents.length - 1)]
      return bytes === undefined ? undefined : sourceOf(bytes.subarray(0, options.maxBytes))
    },
  } as unknown as ClusterFiles
  const slept: number[] = []
  const clock = { sleep: async (ms: number) => void slept.push(ms) }
  return { files, clock, slept, looked: () => count }
}

test('reads pg_control again when it was being written', async () => {
  const good = aControlFile(pg15)
  const world = looks([flip(aControlFile(pg15), 40), flip(aControlFile(pg15), 41), good])
  const control = await readControlFile(world.files, '/data', { clock: world.clock })
  expect(control.systemId).toBe(6569239123849665679n)
  expect(control.bytes.equals(good.subarray(0, 512))).toBe(true)
  expect(world.slept).toEqual([50, 50])
})

test('reports pg_control as damaged when it is invalid twice in the same way', async () => {
  const world = looks([flip(aControlFile(pg15), 40)])
  await expect(readControlFile(world.files, '/data', { clock: world.clock })).rejects.toMatchObject({
    code: 'checksum',
    message: expect.stringContaining('/data/global/pg_control') as string,
  })
  expect(world.looked()).toBe(2)
})

test('a missing pg_control is reported with a hint about the path', async () => {
  const world = looks([undefined])
  await expect(readControlFile(world.files, '/data')).rejects.toMatchObject({
    code: 'file-missing',
    hints: [expect.stringContaining('pg1-path')],
  })
})
