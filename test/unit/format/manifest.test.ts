import { describe, expect, test } from 'vitest'
import { parseInfoFile, serialiseInfoFile } from '../../../src/format/info-file.ts'
import { isSafeManifestName } from '../../../src/format/manifest-names.ts'
import { backupEntryOf, manifestTotals } from '../../../src/format/manifest-totals.ts'
import { checkManifest, manifestDefaults } from '../../../src/format/manifest-check.ts'
import { parseManifest } from '../../../src/format/manifest-parse.ts'
import { serialiseManifest } from '../../../src/format/manifest-serialise.ts'
import { type Manifest, type ManifestFile } from '../../../src/format/manifest.ts'

const owner = { user: 'postgres', group: 'postgres' } as const
const LABEL = '20261122-062513F'
const sha1 = (digit: string) => digit.repeat(40)
const file = (name: string, more: Partial<ManifestFile> = {}): ManifestFile => ({
  name: `pg_data/${name}`,
  ...owner,
  mode: 0o600,
  sizeBytes: 8192,
  timestamp: 1795328685,
  checksum: sha1('a'),
  ...more,
})
const aManifest = (more: Partial<Manifest> = {}): Manifest => ({
  backrestVersion: 'pgts 1',
  label: LABEL,
  type: 'full',
  references: [LABEL],
  archiveStart: '000000010000000000000012',
  archiveStop: '000000010000000000000012',
  lsnStart: '0/1200028',
  lsnStop: '0/12003E8',
  timestampStart: 10,
  timestampCopyStart: 11,
  timestampStop: 12,
  bundle: false,
  bundleRaw: false,
  blockIncremental: false,
  db: { historyId: 1, systemId: 7710877988660439684n, version: '15', catalogVersion: 202209061, controlVersion: 1300 },
  options: {
    archiveCheck: true,
    archiveCopy: false,
    backupStandby: false,
    checksumPage: true,
    compress: true,
    compressType: 'gz',
    hardlink: false,
    online: true,
  },
  targets: [{ name: 'pg_data', type: 'path', path: '/var/lib/postgresql/15/main' }],
  databases: [],
  annotations: new Map(),
  files: [file('PG_VERSION')],
  links: [],
  paths: [{ name: 'pg_data', ...owner, mode: 0o700 }],
  defaults: manifestDefaults({ ...owner, mode: 0o700 }, false),
  ...more,
})
const lineOf = (more: Partial<ManifestFile>) =>
  /^pg_data\/x=(.*)$/m.exec(serialiseManifest(aManifest({ files: [file('x', more)] })).toString('latin1'))![1]

/** A manifest with these lines in `[target:file]`; the size of a file is the first byte of its name. */
function reordered(names: readonly string[]): Buffer {
  const entries = names.map((name): [string, string] => [
    `pg_data/${name}`,
    `{"size":${name.charCodeAt(0)},"timestamp":1}`,
  ])
  const sections = [...parseInfoFile(serialiseManifest(aManifest())).sections.values()]
  const changed = sections.map((section) =>
    section.name === 'target:file' ? { name: section.name, entries } : section,
  )
  return serialiseInfoFile(changed, 'v')
}

/** The manifest with some raw values changed (or removed) and a new checksum, as another program might have written it. */
function edited(manifest: Manifest, section: string, change: Record<string, string | undefined>): Buffer {
  const read = parseInfoFile(serialiseManifest(manifest))
  const sections = [...read.sections.values()].map(({ name, entries }) => {
    const lines = new Map(entries)
    if (name === section) {
      for (const [key, value] of Object.entries(change)) if (value === undefined) lines.delete(key); else lines.set(key, value) // prettier-ignore
    }
    return { name, entries: lines }
  })
  return serialiseInfoFile(sections, manifest.backrestVersion)
}

describe('a file line', () => {
  test.each<[string, Partial<ManifestFile>, string]>([
    ['plain', {}, `{"checksum":"${sha1('a')}","size":8192,"timestamp":1795328685}`],
    [
      'empty: no checksum',
      { sizeBytes: 0, checksumPage: true },
      '{"checksum-page":true,"size":0,"timestamp":1795328685}',
    ],
    [
      'stored size equal to size is left out',
      { repoSizeBytes: 8192, sizeOriginalBytes: 8192 },
      `{"checksum":"${sha1('a')}","size":8192,"timestamp":1795328685}`,
    ],
    [
      'everything',
      {
        blockSize: 32768,
        blockChecksumSize: 7,
        blockMapSize: 127,
        bundleId: 2,
        bundleOffset: 221,
        checksumPage: false,
        checksumPageErrors: [3, [5, 7]],
        group: false,
        mode: 0o640,
        repoChecksum: sha1('b'),
        reference: LABEL,
        repoSizeBytes: 99,
        sizeOriginalBytes: 8191,
        user: 'u"ser',
      },
      `{"bi":4,"bic":7,"bim":127,"bni":2,"bno":221,"checksum":"${sha1('a')}","checksum-page":false,"checksum-page-error":[3,[5,7]],"group":false,"mode":"0640","rck":"${sha1('b')}","reference":"${LABEL}","repo-size":99,"size":8192,"szo":8191,"timestamp":1795328685,"user":"u\\"ser"}`,
    ],
    [
      'block size without blocks',
      { blockSize: 8192, blockChecksumSize: 6 },
      `{"bi":1,"checksum":"${sha1('a')}","size":8192,"timestamp":1795328685}`,
    ],
    [
      'first of its bundle',
      { bundleId: 1, bundleOffset: 0 },
      `{"bni":1,"checksum":"${sha1('a')}","size":8192,"timestamp":1795328685}`,
    ],
  ])('%s', (_, more, expected) => {
    expect(lineOf(more)).toBe(expected)
    const parsed = parseManifest(serialiseManifest(aManifest({ files: [file('x', more)] })))
    expect(serialiseManifest(parsed).equals(serialiseManifest(aManifest({ files: [file('x', more)] })))).toBe(true)
  })
  test('is read with members in any order, with whitespace, and keeps unknown members', () => {
    const value = `{ "timestamp" : 7 , "size": 5,"zzz":{"a":[1]},"checksum":"${sha1('c')}","bio":"x" }`
    const manifest = parseManifest(edited(aManifest(), 'target:file', { 'pg_data/PG_VERSION': value }))
    expect(manifest.files.at(0)).toMatchObject({ timestamp: 7, sizeBytes: 5, checksum: sha1('c') })
    expect(serialiseManifest(manifest).toString()).toContain(
      `{"bio":"x","checksum":"${sha1('c')}","size":5,"timestamp":7,"zzz":{"a":[1]}}`,
    )
  })
  test.each([
    ['no size', '{"timestamp":1}', /has no 'size'/],
    ['no timestamp', '{"size":1}', /has no 'timestamp'/],
    ['size as text', '{"size":"1","timestamp":1}', /number/],
    ['a negative size', '{"size":-1,"timestamp":1}', /out of range/],
    ['a size beyond all disks', '{"size":9007199254740993,"timestamp":1}', /out of range/],
    ['a checksum of another length', '{"checksum":"abc","size":1,"timestamp":1}', /invalid checksum/],
    ['a checksum of other letters', `{"checksum":"${sha1('g')}","size":1,"timestamp":1}`, /invalid checksum/],
    ['an odd mode', '{"mode":"9","size":1,"timestamp":1}', /invalid mode/],
    [
      'page errors of another shape',
      '{"checksum-page":false,"checksum-page-error":[[1,2,3]],"size":1,"timestamp":1}',
      /page errors/,
    ],
    ['no object', '7', /not an object/],
    ['a fraction', '{"size":1,"timestamp":1.5}', /JSON value/],
    ['a time beyond all calendars', '{"size":1,"timestamp":8640000000001}', /out of range/],
    ['a time before all calendars', '{"size":1,"timestamp":-8640000000001}', /out of range/],
    ['blocks of no size', '{"bi":0,"size":1,"timestamp":1}', /out of range/],
    ['blocks larger than a segment', '{"bi":131073,"bim":9,"size":1,"timestamp":1}', /out of range/],
    ['block checksums that are too short', '{"bi":1,"bic":5,"bim":9,"size":1,"timestamp":1}', /out of range/],
    ['block checksums that are too long', '{"bi":1,"bic":17,"bim":9,"size":1,"timestamp":1}', /out of range/],
    ['an empty block map', '{"bi":1,"bim":0,"size":1,"timestamp":1}', /out of range/],
    ['a block map without blocks', '{"bim":9,"size":1,"timestamp":1}', /block map but no block size/],
    ['bundle 0', '{"bni":0,"size":1,"timestamp":1}', /out of range/],
    ['a negative offset', '{"bni":1,"bno":-1,"size":1,"timestamp":1}', /out of range/],
    ['a stored size beyond all disks', '{"repo-size":9007199254740992,"size":1,"timestamp":1}', /out of range/],
    ['a reference that is a path', '{"reference":"../../x","size":1,"timestamp":1}', /not a backup label/],
    [
      'a page beyond all relations',
      '{"checksum-page":false,"checksum-page-error":[4294967296],"size":1,"timestamp":1}',
      /page errors/,
    ],
  ])('%s is refused', (_, value, message) => {
    expect(() => parseManifest(edited(aManifest(), 'target:file', { 'pg_data/PG_VERSION': value }))).toThrow(
      expect.objectContaining({ code: 'format', message: expect.stringMatching(message) }),
    )
  })
})

describe('names', () => {
  const bad = ['../x', '/etc/passwd', 'pg_data/../x', 'pg_data/..', 'pg_data//x', 'pg_data/', 'pg_data/./x', 'pg_datax', 'pg_tblspc/../../x', 'other/x', 'pg_data/a\0b'] // prettier-ignore
  test.each(bad)('%j is refused for files, paths and links', (name) => {
    expect(isSafeManifestName(name)).toBe(false)
    if (name.includes('\0')) return
    const base = aManifest()
    for (const manifest of [
      aManifest({ files: [{ ...base.files.at(0)!, name }] }),
      aManifest({ paths: [...base.paths, { name, ...owner, mode: 0o700 }] }),
      aManifest({ links: [{ name, ...owner, destination: '/x' }] }),
    ]) {
      expect(() => parseManifest(serialiseManifest(manifest))).toThrow(/is outside/)
    }
  })
  test.each([
    'pg_data',
    'pg_data/a',
    'pg_tblspc',
    'pg_tblspc/1/PG_15/5/1',
    'pg_data/..a',
    'pg_data/a..',
    'pg_data/.hidden',
    'pg_data/a b',
  ])('%j is fine', (name) => expect(isSafeManifestName(name)).toBe(true))
  test('a line break is refused with a hint', () => {
    expect(() => serialiseManifest(aManifest({ files: [file('a\nb')] }))).toThrow(/cannot be written/)
  })
  test('serialising fails as an assertion when a name occurs twice', () => {
    expect(() => serialiseManifest(aManifest({ files: [file('a'), file('b'), file('a')] }))).toThrow(
      expect.objectContaining({ code: 'assert' }),
    )
  })
  test('a duplicate line is refused', () => {
    const text = serialiseManifest(aManifest({ links: [{ name: 'pg_data/a', ...owner, destination: 'x' }] }))
    const sections = [...parseInfoFile(text).sections.values()].map(({ name, entries }) => ({
      name,
      entries: name === 'target:link' ? [...entries, ...entries] : entries,
    }))
    expect(() => parseManifest(serialiseInfoFile(sections, 'v'))).toThrow(/'pg_data\/a' is listed twice/)
  })
  test('a file that is listed twice is refused, also where the lines are in another order', () => {
    expect(() => parseManifest(reordered(['a', 'b', 'a']))).toThrow(/'pg_data\/a' is listed twice/)
    expect(() => parseManifest(reordered(['a', 'a']))).toThrow(/'pg_data\/a' is listed twice/)
  })
  test('files are in byte order, each with its members, where the lines are in another order', () => {
    const { files } = parseManifest(reordered(['b', 'c', '\xe4', 'a']))
    expect([...files].map(({ name, sizeBytes }) => [name, sizeBytes])).toEqual([
      ['pg_data/a', 97],
      ['pg_data/b', 98],
      ['pg_data/c', 99],
      ['pg_data/\xe4', 0xe4],
    ])
    expect(files.at(1)).toEqual([...files][1])
    expect(files.at(4)).toBeUndefined()
  })
  test('checksums in upper case are read as the same checksums', () => {
    const value = `{"checksum":"${'0123456789ABCDEFabcd'.repeat(2)}","size":1,"timestamp":1}`
    const { files } = parseManifest(edited(aManifest(), 'target:file', { 'pg_data/PG_VERSION': value }))
    expect(files.at(0)!.checksum).toBe('0123456789abcdefabcd'.repeat(2))
  })
  test('a tablespace name must be an oid', () => {
    const target = { name: 'pg_tblspc/x', type: 'link', path: '/x', tablespaceId: '../x', tablespaceName: 'x' } as const
    const targets = [...aManifest().targets, target]
    expect(() => parseManifest(serialiseManifest(aManifest({ targets })))).toThrow(/not the oid of a tablespace/)
  })
  test('entries may come in any order and are written in byte order', () => {
    const names = ['b', 'a', 'a.b', 'a/b', 'a-b', '\xff', '\xc3\xbc', 'Z', '10', '9']
    const bytes = serialiseManifest(aManifest({ files: names.map((name) => file(name)) }))
    expect([...parseManifest(bytes).files].map(({ name }) => name.slice(8))).toEqual([
      '10',
      '9',
      'Z',
      'a',
      'a-b',
      'a.b',
      'a/b',
      'b',
      '\xc3\xbc',
      '\xff',
    ])
  })
})

describe('manifests of older releases', () => {
  test('before 2.42 the references are computed from the files and the own label', () => {
    const manifest = aManifest({
      label: `${LABEL}_20261123-000000I`,
      type: 'incr',
      prior: LABEL,
      references: ['never', 'read'],
      files: [
        file('b', { reference: `${LABEL}_20261122-100000D` }),
        file('c', { reference: LABEL }),
        file('d'),
        file('e', { reference: LABEL }),
      ],
    })
    expect(parseManifest(edited(manifest, 'backup', { 'backup-reference': undefined })).references).toEqual([
      `${LABEL}_20261122-100000D`,
      LABEL,
      manifest.label,
    ])
  })
  test.each([
    ['true', 'gz'],
    ['false', 'none'],
  ])('before 2.25 option-compress=%s means %s', (compress, type) => {
    const change = { 'option-compress': compress, 'option-compress-type': undefined }
    expect(parseManifest(edited(aManifest(), 'backup:option', change)).options.compressType).toBe(type)
  })
  test('an unknown compress type is refused', () => {
    expect(() => parseManifest(edited(aManifest(), 'backup:option', { 'option-compress-type': '"xz"' }))).toThrow(
      /compress type 'xz'/,
    )
  })
  test('defaults that older releases chose by frequency are applied', () => {
    const bytes = edited(
      aManifest({ files: [file('a'), file('b', { user: 'other', mode: 0o644 })] }),
      'target:file:default',
      {
        user: '"common"',
        mode: '"0444"',
      },
    )
    expect([...parseManifest(bytes).files]).toMatchObject([
      { user: 'common', mode: 0o444 },
      { user: 'other', mode: 0o644 },
    ])
  })
})

describe('checkManifest', () => {
  test.each<[string, Partial<Manifest>, RegExp]>([
    [
      'another label',
      { label: '20261122-062514F', references: ['20261122-062514F'] },
      /it belongs to backup 20261122-062514F/,
    ],
    ['a file without checksum', { files: [file('a', { checksum: undefined as never })] }, /pg_data\/a has no checksum/],
    ['content in an empty file', { files: [file('a', { sizeBytes: 0 })] }, /pg_data\/a is empty, but has the checksum/],
    ['a stored size of 0', { files: [file('a', { repoSizeBytes: 0 })] }, /stored size of 0/],
    [
      'a reference outside the chain',
      { files: [file('a', { reference: '20250101-000000F' })] },
      /refers to backup 20250101-000000F/,
    ],
    ['no data directory', { paths: [], targets: [] }, /target pg_data is missing; path pg_data is missing/],
    ['an incr without prior', { type: 'incr' }, /no prior backup/],
    [
      'a reference to another set',
      { references: ['20261121-062513F', LABEL] },
      /20261121-062513F, which is not an older/,
    ],
    ['a label of another type', { type: 'incr', prior: LABEL }, /not the label of a backup of type incr/],
    [
      'blocks without a checksum of what is stored',
      { files: [file('x', { blockSize: 8192, blockChecksumSize: 6, blockMapSize: 9, repoSizeBytes: 20 })] },
      /pg_data\/x is stored block incremental without a checksum/,
    ],
    [
      'a block map larger than its stored size',
      {
        files: [
          file('x', {
            blockSize: 8192,
            blockChecksumSize: 6,
            blockMapSize: 21,
            repoSizeBytes: 20,
            repoChecksum: sha1('b'),
          }),
        ],
      },
      /block map larger/,
    ],
    ['its label not at the end', { references: [LABEL, '20261122-062514F'] }, /not the last/],
  ])('%s', (_, more, message) => {
    expect(() => checkManifest(aManifest(more), LABEL)).toThrow(
      expect.objectContaining({ code: 'format', message: expect.stringMatching(message) }),
    )
  })
  test('accepts a valid manifest, also with empty files without checksum', () => {
    expect(() =>
      checkManifest(aManifest({ files: [file('a', { sizeBytes: 0, checksum: undefined as never })] }), LABEL),
    ).not.toThrow()
  })
  test('reports a thousand problems in a short message', () => {
    const files = Array.from({ length: 1000 }, (_, i) => file(`f${i}`, { reference: 'x' }))
    expect(() => checkManifest(aManifest({ files }), LABEL)).toThrow(/^.{0,700}; and more$/)
  })
})

describe('totals', () => {
  const files = [
    file('a', { sizeBytes: 100, repoSizeBytes: 30 }),
    file('b', { sizeBytes: 50, reference: LABEL, blockSize: 8192, blockMapSize: 7, repoSizeBytes: 20 }),
    file('c', { sizeBytes: 8 }),
    file('d', { sizeBytes: 0, checksumPage: false }),
  ]
  test('are computed with and without referenced files', () => {
    expect(manifestTotals({ files })).toEqual({
      sizeBytes: 158,
      sizeDeltaBytes: 108,
      repoSizeBytes: 58,
      repoSizeDeltaBytes: 38,
      repoSizeMapBytes: 7,
      repoSizeMapDeltaBytes: 0,
      error: true,
    })
  })
  test('map sizes appear only with block incremental', () => {
    expect(backupEntryOf(aManifest({ files })).repoSizeMapBytes).toBeUndefined()
    expect(backupEntryOf(aManifest({ files, blockIncremental: true })).repoSizeMapBytes).toBe(7)
  })
})
