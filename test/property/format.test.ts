import fc from 'fast-check'
import { expect, test } from 'vitest'
import { parseArchiveInfo, serialiseArchiveInfo } from '../../src/format/archive-info.ts'
import { parseBackupInfo, serialiseBackupInfo, type BackupEntry } from '../../src/format/backup-info.ts'
import * as labels from '../../src/format/backup-label.ts'
import { parseJson, serialiseJson, type JsonValue } from '../../src/format/canonical-json.ts'
import { parseInfoFile, serialiseInfoFile } from '../../src/format/info-file.ts'
import { isJson } from '../../src/format/json-bytes.ts'
import { manifestDefaults } from '../../src/format/manifest-check.ts'
import { parseManifest } from '../../src/format/manifest-parse.ts'
import { serialiseManifest } from '../../src/format/manifest-serialise.ts'
import type { Manifest, ManifestFile } from '../../src/format/manifest.ts'
import * as wal from '../../src/format/wal-segment.ts'
import { compareBytes } from '../../src/util/byte-string.ts'

/** Any bytes but NUL; the difficult ones of this format occur more often than by chance. */
const bytes = fc
  .array(
    fc.oneof(
      fc.integer({ min: 1, max: 255 }).map((code) => String.fromCharCode(code)),
      fc.constantFrom('=', '"', '\\', '{', '}', '[', ']', ':', ',', '={"', '"}', '1', '\xc3\xbc', 'true', '#', ' '),
    ),
    { maxLength: 12 },
  )
  .map((parts) => parts.join(''))
/** As a name in a line of its own. */
const keys = bytes.map((text) => text.replaceAll('\n', '_')).filter((text) => text !== '')
const memberNames = bytes.map((text) => text.replace(/["\\\n\r\t\b\f]/g, '_'))
const hex = fc.stringMatching(/^[0-9a-f]{40}$/)
const sizes = fc.oneof(fc.nat(100_000), fc.maxSafeNat())
const ids = fc.oneof(fc.bigInt(0n, 2n ** 64n - 1n), fc.bigInt(0n, 10n))
const owners = fc.oneof(fc.constant(false as const), fc.constantFrom('postgres', 'root'), bytes)
const modes = fc.integer({ min: 0, max: 0o777 })
const times = fc.integer({ min: 0, max: 4_000_000_000 })
const labelTimes = fc.integer({ min: 0, max: 4_000_000_000 }).map((at) => labels.formatBackupLabel('full', at))
const maybe = <T>(arbitrary: fc.Arbitrary<T>) => fc.option(arbitrary, { nil: undefined })
const defined = <T extends object>(value: T): T =>
  Object.fromEntries(Object.entries(value).filter(([, member]) => member !== undefined)) as T

const json: fc.Arbitrary<JsonValue> = fc.letrec<{ value: JsonValue }>((tie) => ({
  value: fc.oneof(
    { maxDepth: 4 },
    fc.constantFrom(null, true, false, 0, -1),
    fc.maxSafeInteger(),
    fc.bigInt(2n ** 53n, 2n ** 64n - 1n),
    bytes,
    fc.array(tie('value'), { maxLength: 4 }),
    fc.array(fc.tuple(memberNames, tie('value')), { maxLength: 4 }).map((members) => new Map(members)),
  ),
})).value
const ordered = (value: JsonValue): JsonValue =>
  value instanceof Map
    ? new Map([...value].sort(([a], [b]) => compareBytes(a, b)).map(([key, member]) => [key, ordered(member)]))
    : Array.isArray(value)
      ? value.map(ordered)
      : value

test('JSON: parsing returns the serialised value, and a value has one text', () => {
  fc.assert(
    fc.property(json, (value) => {
      const text = serialiseJson(value)
      expect(parseJson(text)).toEqual(value)
      expect(serialiseJson(ordered(parseJson(text)))).toBe(text)
    }),
  )
})

test('JSON: both readers accept and refuse the same texts', () => {
  const almost = fc.oneof(
    bytes,
    fc.tuple(json, fc.nat(40), bytes).map(([value, at, noise]) => {
      const text = serialiseJson(value)
      return text.slice(0, at) + noise + text.slice(at)
    }),
  )
  fc.assert(
    fc.property(almost, (text) => {
      // Only one of them reads a NUL or a number beyond 64 bits.
      if (/[0-9]{19}/.test(text)) return
      const buffer = Buffer.from(text, 'latin1')
      let parsed = true
      try {
        parseJson(text)
      } catch {
        parsed = false
      }
      expect(isJson(buffer, 0, buffer.length)).toBe(parsed)
    }),
    { numRuns: 500 },
  )
})

test('an info file with any keys and values survives a round trip', () => {
  const values = json.filter((value) => !Array.isArray(value)).map(serialiseJson)
  const sections = fc.uniqueArray(
    fc.record({
      name: fc.stringMatching(/^[a-z:]{1,10}$/).filter((name) => name !== 'backrest'),
      entries: fc.uniqueArray(fc.tuple(keys, values), { selector: ([key]) => key, minLength: 1, maxLength: 5 }),
    }),
    { selector: ({ name }) => name, maxLength: 4 },
  )
  fc.assert(
    fc.property(sections, bytes, (content, version) => {
      // `{..}` after a key of JSON could be split in two ways only if the key could end a JSON value, which no name can
      // for an object; scalars are written by us under fixed keys only.
      const plain = content.map(({ name, entries }) => ({
        name,
        entries: entries.map(([key, value]) => [key, value.startsWith('{"') ? value : `{"v":${value}}`] as const),
      }))
      const file = parseInfoFile(serialiseInfoFile(plain, version))
      expect(file.backrestVersion).toBe(version)
      const read = [...file.sections.values()].map(({ name, entries }) => ({ name, entries: [...entries] }))
      expect(read).toEqual([...plain].sort((a, b) => compareBytes(a.name, b.name)))
    }),
  )
})

test('reading an info file fails when a bit was flipped', () => {
  const text = serialiseInfoFile([{ name: 'a', entries: [['k"=', '{"x":"y"}'], ['l', '7']] }], 'v') // prettier-ignore
  fc.assert(
    fc.property(fc.nat(text.length - 2), fc.nat(7), (at, bit) => {
      const damaged = Buffer.from(text)
      damaged[at]! ^= 1 << bit
      expect(() => parseInfoFile(damaged)).toThrow()
    }),
    { numRuns: 1000 },
  )
})

const historyIds = fc.uniqueArray(fc.integer({ min: 1, max: 2 ** 32 - 1 }), { minLength: 1, maxLength: 12 })
const versions = fc.constantFrom('9.6', '10', '15', '18')

test('archive.info with any values survives a round trip', () => {
  fc.assert(
    fc.property(historyIds, ids, versions, maybe(bytes), fc.nat(), (list, systemId, version, cipherPass, pick) => {
      const history = list.sort((a, b) => a - b).map((id) => ({ id, systemId, version }))
      const info = defined({ backrestVersion: 'x', currentId: list[pick % list.length]!, history, cipherPass })
      const text = serialiseArchiveInfo(info as never, 'x')
      expect(parseArchiveInfo(text)).toEqual(info)
      expect(serialiseArchiveInfo(parseArchiveInfo(text), 'x').equals(text)).toBe(true)
    }),
  )
})

/** Label, type and prior. */
const chains = fc.oneof(
  labelTimes.map((label) => ({ label, type: 'full' as const })),
  fc.tuple(labelTimes, times, fc.constantFrom('diff' as const, 'incr' as const)).map(([full, at, type]) => ({
    label: labels.formatBackupLabel(type, at, full),
    type,
    prior: full,
    references: [full],
  })),
)
const u32 = fc.integer({ min: 0, max: 2 ** 32 - 1 })
const annotations = fc.array(fc.tuple(memberNames, bytes), { maxLength: 3 }).map((members) => new Map(members))
const entries: fc.Arbitrary<BackupEntry> = fc
  .record({
    chain: chains,
    backrestFormat: fc.constant(5),
    backrestVersion: bytes,
    annotations,
    archiveStart: fc.option(fc.constant('000000010000000000000012')),
    archiveStop: fc.option(fc.constant('000000010000000000000013')),
    error: maybe(fc.boolean()),
    repoSizeBytes: sizes,
    repoSizeDeltaBytes: sizes,
    map: maybe(fc.tuple(sizes, sizes)),
    sizeBytes: sizes,
    sizeDeltaBytes: sizes,
    lsnStart: maybe(fc.constant('0/1200028')),
    lsnStop: maybe(fc.constant('0/1200028')),
    timestampStart: times,
    timestampStop: times,
    historyId: u32,
    optionArchiveCheck: fc.boolean(),
    optionArchiveCopy: fc.boolean(),
    optionBackupStandby: fc.boolean(),
    optionChecksumPage: fc.boolean(),
    optionCompress: fc.boolean(),
    optionHardlink: fc.boolean(),
    optionOnline: fc.boolean(),
  })
  .map(({ map, chain, ...entry }) =>
    defined({
      ...entry,
      ...chain,
      ...(map && { repoSizeMapBytes: map[0], repoSizeMapDeltaBytes: map[1] }),
    } as BackupEntry),
  )

test('backup.info with any values survives a round trip', () => {
  const backups = fc
    .uniqueArray(entries, { selector: ({ label }) => label, maxLength: 5 })
    .map((list) => list.sort((a, b) => compareBytes(a.label, b.label)))
  fc.assert(
    fc.property(backups, ids, u32, (list, systemId, catalogVersion) => {
      const history = [{ id: 1, systemId, version: '15', catalogVersion, controlVersion: 1300 }]
      const info = { backrestVersion: 'x', currentId: 1, history, backups: list }
      const text = serialiseBackupInfo(info, 'x')
      expect(parseBackupInfo(text)).toEqual(info)
      expect(serialiseBackupInfo(parseBackupInfo(text), 'x').equals(text)).toBe(true)
    }),
  )
})

const component = bytes
  .map((text) => text.replace(/[\n/]/g, '_'))
  .filter((text) => text !== '' && text !== '.' && text !== '..')
const names = fc
  .tuple(fc.constantFrom('pg_data', 'pg_tblspc/16384'), fc.array(component, { minLength: 1, maxLength: 3 }))
  .map(([root, parts]) => `${root}/${parts.join('/')}`)
const files: fc.Arbitrary<ManifestFile> = fc
  .record({
    name: names,
    user: owners,
    group: owners,
    mode: modes,
    sizeBytes: sizes,
    timestamp: times,
    checksum: maybe(hex),
    repoChecksum: maybe(hex),
    repoSizeBytes: maybe(sizes),
    sizeOriginalBytes: maybe(sizes),
    reference: maybe(labelTimes),
    bundle: maybe(fc.record({ bundleId: fc.integer({ min: 1 }), bundleOffset: sizes })),
    block: maybe(
      fc.record({
        blockSize: fc.integer({ min: 1, max: 11 }).map((units) => units * 8192),
        blockChecksumSize: fc.integer({ min: 6, max: 16 }),
        blockMapSize: maybe(fc.integer({ min: 1 })),
      }),
    ),
    pages: maybe(
      fc.record({
        checksumPage: fc.boolean(),
        checksumPageErrors: maybe(fc.array(fc.oneof(u32, fc.tuple(u32, u32)), { minLength: 1, maxLength: 4 })),
      }),
    ),
  })
  .map(({ bundle, block, pages, ...file }) => {
    const whole = { ...file, ...bundle, ...(block && defined(block)), ...(pages && defined(pages)) } as ManifestFile
    const { checksum, repoSizeBytes, sizeOriginalBytes, ...rest } = whole
    // A member with its default value is not in the file.
    return defined({
      ...rest,
      checksum: whole.sizeBytes === 0 ? undefined : checksum,
      repoSizeBytes: repoSizeBytes === whole.sizeBytes ? undefined : repoSizeBytes,
      sizeOriginalBytes: sizeOriginalBytes === whole.sizeBytes ? undefined : sizeOriginalBytes,
    }) as ManifestFile
  })
const byName = <T extends { name: string }>(item: fc.Arbitrary<T>) =>
  fc
    .uniqueArray(item, { selector: ({ name }) => name, maxLength: 6 })
    .map((list) => list.sort((a, b) => compareBytes(a.name, b.name)))
const manifests: fc.Arbitrary<Manifest> = fc
  .record({
    backrestVersion: bytes,
    label: labelTimes,
    type: fc.constantFrom('full' as const, 'diff' as const, 'incr' as const),
    prior: maybe(labelTimes),
    references: fc.array(labelTimes, { minLength: 1, maxLength: 4 }),
    archiveStart: maybe(fc.constant('000000010000000000000012')),
    archiveStop: maybe(fc.constant('000000010000000000000012')),
    lsnStart: maybe(fc.constant('0/1200028')),
    lsnStop: maybe(fc.constant('0/1200028')),
    timestampStart: times,
    timestampCopyStart: times,
    timestampStop: times,
    bundle: fc.boolean(),
    bundleRaw: fc.boolean(),
    blockIncremental: fc.boolean(),
    db: fc.record({ historyId: u32, systemId: ids, version: versions, catalogVersion: u32, controlVersion: u32 }),
    options: fc
      .record({
        archiveCheck: fc.boolean(),
        archiveCopy: fc.boolean(),
        backupStandby: maybe(fc.boolean()),
        bufferSize: maybe(u32),
        checksumPage: fc.boolean(),
        compress: fc.boolean(),
        compressLevel: maybe(u32),
        compressLevelNetwork: maybe(u32),
        compressType: fc.constantFrom('none' as const, 'gz' as const, 'lz4' as const, 'zst' as const, 'bz2' as const),
        delta: maybe(fc.boolean()),
        hardlink: fc.boolean(),
        online: fc.boolean(),
        processMax: maybe(u32),
      })
      .map((options) => defined(options) as Manifest['options']),
    targets: byName(
      fc
        .record({
          name: names,
          type: fc.constantFrom('path' as const, 'link' as const),
          path: bytes,
          file: maybe(bytes),
          tablespaceId: maybe(fc.constant('16384')),
          tablespaceName: maybe(bytes),
        })
        .map((target) => defined(target) as Manifest['targets'][number]),
    ),
    cipherPass: maybe(bytes),
    databases: byName(fc.record({ name: keys, oid: u32, lastSystemOid: u32 })),
    annotations,
    files: byName(files),
    links: byName(fc.record({ name: names, user: owners, group: owners, destination: bytes })),
    paths: byName(fc.record({ name: names, user: owners, group: owners, mode: modes })),
    base: fc.record({ user: owners, group: owners, mode: modes }),
  })
  .map(({ base, ...manifest }) =>
    defined({ ...manifest, defaults: manifestDefaults(base, manifest.links.length > 0) } as Manifest),
  )

test('a manifest with any values survives a round trip', () => {
  fc.assert(
    fc.property(manifests, (manifest) => {
      const text = serialiseManifest(manifest)
      const parsed = parseManifest(text)
      // Reading fills in the offset of the first file of a bundle and the usual size of block checksums: both are in these values.
      expect({ ...parsed, files: [...parsed.files] }).toEqual(manifest)
      expect(serialiseManifest(parsed).equals(text)).toBe(true)
    }),
    { numRuns: 300 },
  )
})

test('LSNs and segment names survive a round trip', () => {
  const segmentSizes = fc.integer({ min: 20, max: 30 }).map((power) => 2 ** power)
  const lsns = fc.bigInt(0n, 2n ** 64n - 2n ** 31n)
  fc.assert(
    fc.property(lsns, fc.integer({ min: 1, max: 2 ** 32 - 1 }), segmentSizes, (lsn, timeline, size) => {
      expect(wal.parseLsn(wal.formatLsn(lsn))).toBe(lsn)
      const segment = wal.segmentOfLsn(lsn, timeline, size)
      expect(wal.isWalSegment(segment)).toBe(true)
      expect(wal.timelineOf(segment)).toBe(timeline)
      expect(wal.lsnOfSegment(segment, size)).toBe(lsn - (lsn % BigInt(size)))
      const next = wal.nextWalSegment(segment, size)
      expect(next > segment).toBe(true)
      expect(wal.lsnOfSegment(next, size) - wal.lsnOfSegment(segment, size)).toBe(BigInt(size))
    }),
  )
})

test('each segment of a range follows the one before, also across a log boundary', () => {
  fc.assert(
    fc.property(
      fc.bigInt(0n, 2n ** 40n),
      fc.integer({ min: 0, max: 600 }),
      fc.constantFrom(2 ** 20, 2 ** 24, 2 ** 30),
      (from, count, size) => {
        const to = from + BigInt(count) * BigInt(size)
        const range = [...wal.segmentRange(from, to, 1, size)]
        expect(range).toHaveLength(count + 1)
        expect(range[0]).toBe(wal.segmentOfLsn(from, 1, size))
        expect(range.at(-1)).toBe(wal.segmentOfLsn(to, 1, size))
        for (let i = 1; i < range.length; i++) expect(range[i]).toBe(wal.nextWalSegment(range[i - 1]!, size))
        expect([...wal.segmentsBetween(range[0]!, range.at(-1)!, size)]).toEqual(range)
      },
    ),
    { numRuns: 50 },
  )
})

test('the next label is greater than every existing one, by at most one second', () => {
  fc.assert(
    fc.property(times, fc.array(labelTimes, { maxLength: 8 }), (now, existing) => {
      let next
      try {
        next = labels.nextBackupLabel('full', now, existing)
      } catch (error) {
        expect(error).toMatchObject({ code: 'clock' })
        return
      }
      for (const label of existing) expect(next.label > label).toBe(true)
      expect(next.label).toBe(labels.formatBackupLabel('full', next.timestampStart))
      expect([now, now + 1]).toContain(next.timestampStart)
    }),
  )
})
