import { describe, expect, test } from 'vitest'
import { checkReach, type TargetRequest } from '../../../../src/core/restore/reachable.ts'
import { parseTarget } from '../../../../src/core/restore/recovery-target.ts'
import { segmentSizeFrom } from '../../../../src/core/restore/wal-reach.ts'
import { memoryStorage } from '../../../../src/storage/memory.ts'
import type { StorageDriver, StoredFile } from '../../../../src/storage/driver.ts'

const SHA1 = '0123456789abcdef0123456789abcdef01234567'
/** Seconds; each segment was stored at STORED + the last two digits of its name. */
const STORED = Date.parse('2026-11-29T12:00:00Z') / 1000

const hex8 = (value: number) => value.toString(16).toUpperCase().padStart(8, '0')
/** `segment(1, 0x1fe)`: the 511th of timeline 1, with 16 MiB each. */
const segment = (timeline: number, number: number) => hex8(timeline) + hex8(number >> 8) + hex8(number & 0xff)
const range = (timeline: number, first: number, last: number) =>
  Array.from({ length: last - first + 1 }, (_, index) => segment(timeline, first + index))

/** An archive with these segments (`.partial` possible), and the list of directories that were listed. */
function archive(segments: readonly string[]) {
  const root = 'archive/main/15-1'
  const directories = new Map<string, StoredFile[]>([[root, []]])
  for (const name of segments) {
    const directory = `${root}/${name.slice(0, 16)}`
    if (!directories.has(directory)) {
      directories.set(directory, [])
      directories.get(root)!.push({ name: directory, kind: 'path', sizeBytes: 0, mtimeMs: 0 })
    }
    const mtimeMs = (STORED + parseInt(name.slice(22, 24), 16)) * 1000
    directories.get(directory)!.push({ name: `${directory}/${name}-${SHA1}.gz`, kind: 'file', sizeBytes: 1, mtimeMs })
  }
  const listings: string[] = []
  const list: StorageDriver['list'] = async function* (prefix, options) {
    await Promise.resolve()
    listings.push(prefix)
    for (const file of directories.get(prefix) ?? []) yield options?.namesOnly === true ? { ...file, mtimeMs: 0 } : file
  }
  return { storage: { ...memoryStorage(), list } as StorageDriver, listings }
}

const LABEL = '20261129-110000F'
/** From segment 4 to 5 of timeline 1. */
const backup = {
  label: LABEL,
  lsnStart: 0x4000028n,
  lsnStop: 0x5000100n,
  timestampStop: STORED - 60,
  archiveCopy: false,
}
const positions = [
  { segment: segment(1, 4), lsn: 0x4000028n },
  { segment: segment(1, 5), lsn: 0x50000ffn },
]

const request = (more: Partial<TargetRequest> = {}): TargetRequest => ({
  type: 'default',
  stanza: 'main',
  archiveId: '15-1',
  timelines: [{ timeline: 1 }],
  backup,
  positions,
  now: STORED + 3600,
  major: 15,
  isElsewhere: () => Promise.resolve(false),
  signal: new AbortController().signal,
  ...more,
})
const time = (text: string) => ({ type: 'time', target: parseTarget('time', text) }) as const
const lsn = (text: string) => ({ type: 'lsn', target: parseTarget('lsn', text) }) as const
const warnings = async (segments: readonly string[], more: Partial<TargetRequest>) =>
  (await checkReach(archive(segments).storage, request(more))).findings.map(({ message, hints }) =>
    [message, ...hints.map((hint) => `HINT: ${hint}`)].join('\n'),
  )

const whole = range(1, 2, 9)
const holed = [...range(1, 2, 6), ...range(1, 8, 9)]

describe('no warning for a target that the archive reaches', () => {
  test.each<[string, readonly string[], Partial<TargetRequest>]>([
    ['the end of an archive without a gap', whole, {}],
    ['a time before the last segment was stored', whole, time('2026-11-29 12:00:08+00')],
    ['a time before a gap', holed, time('2026-11-29 12:00:06+00')],
    ['an LSN in the last segment', whole, lsn('0/9FFFFFF')],
    ['an LSN before a gap', holed, lsn('0/6FFFFFF')],
    ['the end of the backup, whatever comes later', range(1, 4, 5), { type: 'immediate' }],
    ['the end of a backup that contains its WAL', [], { type: 'immediate', backup: { ...backup, archiveCopy: true } }],
    ['a name, whose position is unknown', whole, { type: 'name', target: parseTarget('name', 'here') }],
    ['a standby, which can read WAL from its primary', holed, { type: 'standby' }],
    ['a cluster without recovery', [], { type: 'none' }],
    ['a gap that another repository fills', holed, { isElsewhere: (name) => Promise.resolve(name === segment(1, 7)) }],
    ['segments across the end of a log', range(1, 4, 0x203), lsn('2/3FFFFFF')],
    [
      'a later timeline with the segment in which it begins',
      [...range(1, 4, 6), ...range(2, 6, 9)],
      { ...lsn('0/9000000'), timelines: [{ timeline: 1, endLsn: 0x6000100n }, { timeline: 2 }] },
    ],
    ['any target when the segment size is unknown', holed, { positions: [] }],
  ])('%s', async (_, segments, more) => {
    expect(await warnings(segments, more)).toEqual([])
  })
})

describe('a warning for a target that the archive does not reach', () => {
  test.each<[string, readonly string[], Partial<TargetRequest>, RegExp]>([
    [
      'a time in the future',
      whole,
      time('2099-01-01 00:00:00+00'),
      /^target time '2099-01-01 00:00:00\+00' is in the future/,
    ],
    [
      'a time after the last segment was stored',
      whole,
      time('2026-11-29 12:00:11+00'),
      /^the archive ends with WAL segment 000000010000000000000009, stored at .*: recovery is not expected to reach the target time/,
    ],
    [
      'a time after a gap',
      holed,
      time('2026-11-29 12:00:08+00'),
      /^WAL segment 000000010000000000000007 is not in the archive, but later ones are: .* not expected to reach the target time/,
    ],
    [
      'a time before the end of the backup',
      whole,
      time('2026-11-29 11:58:00+00'),
      /is before the end of backup 2026.*--set/s,
    ],
    [
      'an LSN before the end of the backup',
      whole,
      lsn('0/5000000'),
      /0\/5000000 is before the end of .* LSN 0\/5000100/,
    ],
    [
      'an LSN beyond the archive',
      whole,
      lsn('0/A000000'),
      /^the archive ends with WAL segment 000000010000000000000009: /,
    ],
    [
      'an LSN beyond a gap',
      holed,
      lsn('0/8000028'),
      /^WAL segment 000000010000000000000007 .* not reach the target LSN/,
    ],
    [
      'the end of the archive, after a gap',
      holed,
      {},
      /^WAL segment 000000010000000000000007 .* ends before it\nHINT: later commits/,
    ],
    [
      'a gap of a whole directory',
      [...range(1, 4, 0xff), ...range(1, 0x200, 0x201)],
      {},
      /^WAL segment 000000010000000100000000 .* ends before it/,
    ],
    [
      'a name, with a gap in the archive',
      holed,
      { type: 'name', target: parseTarget('name', 'here') },
      /^WAL segment 000000010000000000000007 .* reaches the target only if it is earlier/,
    ],
    [
      'a backup that is not consistent without a missing segment',
      [segment(1, 4), ...range(1, 6, 9)],
      { type: 'immediate' },
      /^WAL segment 000000010000000000000005 is not in the archive: backup 20261129-110000F cannot become consistent without it/,
    ],
    [
      'an empty archive',
      [],
      {},
      /^WAL segment 000000010000000000000004 is not in the archive: backup \S+ cannot become consistent/,
    ],
    [
      'a later timeline that lacks its first segment',
      [...range(1, 4, 9), ...range(2, 7, 9)],
      { timelines: [{ timeline: 1, endLsn: 0x6000100n }, { timeline: 2 }] },
      /^WAL segment 000000020000000000000006 .* ends before it/,
    ],
    [
      'an LSN that only the abandoned timeline has',
      [...range(1, 4, 9), ...range(2, 6, 7)],
      { ...lsn('0/9000000'), timelines: [{ timeline: 1, endLsn: 0x6000100n }, { timeline: 2 }] },
      /^the archive ends with WAL segment 000000020000000000000007/,
    ],
  ])('%s', async (_, segments, more, words) => {
    const found = await warnings(segments, more)
    expect(found).toHaveLength(1)
    expect(found[0]).toMatch(words)
  })

  test('a warning if the target needs a segment that is only partial', async () => {
    const { storage } = archive([...range(1, 4, 6), `${segment(1, 7)}.partial`])
    const { findings } = await checkReach(storage, request(lsn('0/7000100')))
    expect(findings[0]?.message).toContain('ends with WAL segment 000000010000000000000006')
  })
})

describe('directories of the archive that are listed', () => {
  test('are only those from the backup to the target', async () => {
    const { storage, listings } = archive(['000000010000000000000001', ...range(1, 0x1000, 0x4000)])
    const later = {
      backup: { ...backup, lsnStart: 0x10_01000028n, lsnStop: 0x10_02000100n },
      positions: [{ segment: segment(1, 0x1001), lsn: 0x10_01000028n }],
    }
    expect((await checkReach(storage, request({ ...later, ...lsn('11/0') }))).verdict).toBe('reachable')
    expect(listings.length).toBeLessThanOrEqual(17)
    expect(listings).not.toContain('archive/main/15-1/0000000100000000')
  })

  test('are none for a time in the future', async () => {
    const { storage, listings } = archive(whole)
    await checkReach(storage, request(time('2099-01-01 00:00:00+00')))
    expect(listings).toEqual([])
  })

  test('are at most 256', async () => {
    const directories = Array.from({ length: 300 }, (_, log) => range(1, log * 256, log * 256 + 255)).flat()
    const { storage, listings } = archive(directories)
    expect(await checkReach(storage, request(lsn('200/0')))).toMatchObject({ verdict: 'unknown', findings: [] })
    expect(listings).toHaveLength(257)
  })
})

test('the segment size is derived from segment names and LSNs of backups', () => {
  const at = (name: string, position: bigint) => ({ segment: name, lsn: position })
  expect(segmentSizeFrom(positions)).toBe(16 * 1024 * 1024)
  expect(segmentSizeFrom([at('000000010000000A00000003', 0xa_00300028n)])).toBe(1024 * 1024)
  // In the first segment of a log every size fits that is larger than the offset.
  expect(segmentSizeFrom([at('000000010000000A00000000', 0xa_00000028n)])).toBeUndefined()
  expect(
    segmentSizeFrom([at('000000010000000A00000000', 0xa_00000028n), at('000000010000000B00000001', 0xb_40000028n)]),
  ).toBe(1024 * 1024 * 1024)
  expect(segmentSizeFrom([at('000000010000000A00000003', 0xa_00000028n)])).toBeUndefined()
  expect(segmentSizeFrom([])).toBeUndefined()
})
