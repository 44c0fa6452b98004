import { describe, expect, test } from 'vitest'
import * as archive from '../../../src/format/archive-info.ts'
import { parseBackupInfo, serialiseBackupInfo, withBackup, withoutBackups } from '../../../src/format/backup-info.ts'
import type { BackupEntry, BackupInfo } from '../../../src/format/backup-info.ts'
import { serialiseInfoFile } from '../../../src/format/info-file.ts'

const archiveInfo: archive.ArchiveInfo = {
  backrestVersion: 'v',
  currentId: 3,
  history: [
    { id: 1, systemId: 7710877988660439684n, version: '9.6' },
    { id: 2, systemId: 18446744073709551615n, version: '15' },
    { id: 3, systemId: 7710877988660439684n, version: '9.6' },
  ],
}
const entry: BackupEntry = {
  label: '20261122-062513F',
  backrestFormat: 5,
  backrestVersion: 'v',
  annotations: new Map(),
  archiveStart: null,
  archiveStop: null,
  repoSizeBytes: 1,
  repoSizeDeltaBytes: 2,
  sizeBytes: 3,
  sizeDeltaBytes: 4,
  timestampStart: 5,
  timestampStop: 6,
  type: 'full',
  historyId: 1,
  optionArchiveCheck: true,
  optionArchiveCopy: false,
  optionBackupStandby: false,
  optionChecksumPage: true,
  optionCompress: true,
  optionHardlink: false,
  optionOnline: true,
}
const backupInfo: BackupInfo = {
  backrestVersion: 'v',
  currentId: 1,
  history: [{ id: 1, systemId: 1n, version: '15', catalogVersion: 202209061, controlVersion: 1300 }],
  backups: [entry],
}

/** A file of raw lines, with a right checksum. */
const raw = (sections: Record<string, Record<string, string>>) =>
  serialiseInfoFile(
    Object.entries(sections).map(([name, entries]) => ({ name, entries: Object.entries(entries) })),
    'v',
  )

describe('archive.info', () => {
  test('returns the ids of one cluster newest first', () => {
    expect(archive.archiveIdsMatching(archiveInfo, '9.6', 7710877988660439684n)).toEqual(['9.6-3', '9.6-1'])
    expect(archive.archiveIdsMatching(archiveInfo, '15', 1n)).toEqual([])
    expect(archive.archiveIdOf(archive.currentHistory(archiveInfo))).toBe('9.6-3')
  })
  test('sorts the history by number, not by text', () => {
    const history = Array.from({ length: 12 }, (_, i) => ({ id: i + 1, systemId: BigInt(i), version: '15' }))
    const text = archive.serialiseArchiveInfo({ ...archiveInfo, history }, 'v').toString()
    expect(text.match(/^\d+(?==)/gm)).toEqual(history.map(({ id }) => String(id)))
  })
  test.each([
    [
      'no current cluster',
      { db: { 'db-id': '2' }, 'db:history': { '1': '{"db-id":1,"db-version":"15"}' } },
      /current history id 2/,
    ],
    ['no history', { db: { 'db-id': '1' } }, /no cluster history/],
    ['no [db]', { 'db:history': { '1': '{"db-id":1,"db-version":"15"}' } }, /'db-id' is missing/],
    [
      'a strange id',
      { db: { 'db-id': '1' }, 'db:history': { x: '{"db-id":1,"db-version":"15"}' } },
      /'x' is not a history id/,
    ],
    [
      'a negative system id',
      { db: { 'db-id': '1' }, 'db:history': { '1': '{"db-id":-1,"db-version":"15"}' } },
      /unsigned 64-bit/,
    ],
    [
      'an id beyond 32 bits',
      { db: { 'db-id': '4294967296' }, 'db:history': { '1': '{"db-id":1,"db-version":"15"}' } },
      /from 0 to 4294967295/,
    ],
    [
      'a wrong type',
      { db: { 'db-id': '1' }, 'db:history': { '1': '{"db-id":1,"db-version":15}' } },
      /'db-version' must be a string/,
    ],
    ['no object', { db: { 'db-id': '1' }, 'db:history': { '1': '7' } }, /expected a JSON object/],
    [
      'a version that is a path',
      { db: { 'db-id': '1' }, 'db:history': { '1': '{"db-id":1,"db-version":"../../x"}' } },
      /'db-version' must be a version of PostgreSQL/,
    ],
    [
      'one id written in two ways',
      {
        db: { 'db-id': '1' },
        'db:history': { '01': '{"db-id":1,"db-version":"15"}', '1': '{"db-id":1,"db-version":"15"}' },
      },
      /'01' is not a history id/,
    ],
  ])('%s is refused', (_, sections, message) => {
    const bytes = raw(sections as Record<string, Record<string, string>>)
    expect(() => archive.parseArchiveInfo(bytes)).toThrow(
      expect.objectContaining({ code: 'format', message: expect.stringMatching(message) }),
    )
  })
})

describe('backup.info', () => {
  test('has no [backup:current] without backups', () => {
    const bytes = serialiseBackupInfo({ ...backupInfo, backups: [] }, 'v')
    expect(bytes.toString()).not.toContain('backup:current')
    expect(parseBackupInfo(bytes).backups).toEqual([])
  })
  test('adds, replaces and removes entries', () => {
    const other = { ...entry, label: '20261121-062513F' }
    const both = withBackup(backupInfo, other)
    expect(both.backups.map(({ label }) => label)).toEqual([other.label, entry.label])
    expect(withBackup(both, { ...other, sizeBytes: 99 }).backups.map(({ sizeBytes }) => sizeBytes)).toEqual([99, 3])
    expect(withoutBackups(both, [entry.label]).backups).toEqual([other])
  })
  const line = () => /F=(.*)$/m.exec(serialiseBackupInfo(backupInfo, 'v').toString())![1]!
  const withLine = (value: string) =>
    raw({
      'backup:current': { [entry.label]: value },
      db: { 'db-id': '1' },
      'db:history': { '1': '{"db-catalog-version":1,"db-control-version":1,"db-system-id":1,"db-version":"15"}' },
    })
  test('keeps backup-error absent where it was absent', () => {
    expect(line()).not.toContain('backup-error')
    expect(parseBackupInfo(withLine(line())).backups[0]).toEqual(entry)
  })
  test.each([...'backrest-format backrest-version backup-info-size backup-type db-id option-online'.split(' ')])(
    'an entry without %s is refused',
    (key) => {
      const value = line()
        .replace(new RegExp(`"${key}":("[^"]*"|[^,}]*),?`), '')
        .replace(',}', '}')
      expect(() => parseBackupInfo(withLine(value))).toThrow(new RegExp(`backup 20261122-062513F: '${key}' is missing`))
    },
  )
  test('requires map sizes in pairs', () => {
    const value = line().replace('"backup-info-size":', '"backup-info-repo-size-map":7,"backup-info-size":')
    expect(() => parseBackupInfo(withLine(value))).toThrow(/repo-size-map-delta' is missing/)
  })
  test.each([
    ['"backup-type":"full"', '"backup-prior":"../../x","backup-type":"full"', /'backup-prior' must be a backup label/],
    [
      '"backup-type":"full"',
      '"backup-prior":"20261122-062513F","backup-type":"full"',
      /not an older backup of its set/,
    ],
    [
      '"backup-type":"full"',
      '"backup-reference":["x"],"backup-type":"full"',
      /'backup-reference' must be a list of backup/,
    ],
    [
      '"backup-type":"full"',
      '"backup-reference":["20251122-062513F"],"backup-type":"full"',
      /refers to 20251122-062513F/,
    ],
    ['"backup-type":"full"', '"backup-type":"incr"', /not the label of a backup of type incr/],
    [/"backup-archive-start":[^,]*/, '"backup-archive-start":"../../x"', /must be the name of a WAL segment/],
    [/"backup-timestamp-stop":[^,]*/, '"backup-timestamp-stop":9007199254740991', /from 0 to 8640000000000/],
    [/"backup-info-size":[^,]*/, '"backup-info-size":-1', /must be an integer/],
    [/"backup-info-size":[^,]*/, '"backup-info-size":9007199254740992', /must be an integer/],
  ])('an entry in which %s becomes %s is refused', (from, to, message) => {
    const value = line().replace(from, to)
    expect(value).not.toBe(line())
    expect(() => parseBackupInfo(withLine(value))).toThrow(
      expect.objectContaining({ code: 'format', message: expect.stringMatching(message) }),
    )
  })
  test('refuses an entry whose key is not a label', () => {
    expect(() => parseBackupInfo(raw({ 'backup:current': { latest: line() }, db: { 'db-id': '1' } }))).toThrow()
  })
})

describe('an unknown member of a newer release', () => {
  test('is kept in its place', () => {
    const text = serialiseBackupInfo(backupInfo, 'v').toString()
    const sections = {
      'backup:current': {
        [entry.label]: /F=(.*)$/m
          .exec(text)![1]!
          .replace('"backup-type"', '"backup-tool":{"z":[18446744073709551615]},"backup-type"'),
      },
      db: { 'db-catalog-version': '202209061', 'db-color': '"red"', 'db-control-version': '1300', 'db-id': '1', 'db-system-id': '1', 'db-version': '"15"' }, // prettier-ignore
      'db:history': { '1': '{"db-catalog-version":202209061,"db-control-version":1300,"db-system-id":1,"db-timeline":7,"db-version":"15"}' }, // prettier-ignore
      'new:section': { 'k=1': '{"a": 1}' },
    }
    const bytes = raw(sections)
    const info = parseBackupInfo(bytes)
    expect(serialiseBackupInfo(info, 'v').toString()).toBe(bytes.toString())
    expect(serialiseBackupInfo(withBackup(info, { ...entry, label: '20261123-000000F' }), 'v').toString()).toContain(
      'new:section',
    )
  })
  test('is dropped when its name is a prefix of a known name', () => {
    const value = /F=(.*)$/m
      .exec(serialiseBackupInfo(backupInfo, 'v').toString())![1]!
      .replace('"backup-info-size":', '"backup-info-s":1,"backup-info-size":')
    const info = parseBackupInfo(
      raw({
        'backup:current': { [entry.label]: value },
        db: { 'db-id': '1' },
        'db:history': { '1': '{"db-catalog-version":1,"db-control-version":1,"db-system-id":1,"db-version":"15"}' },
      }),
    )
    expect(info.backups[0]).toEqual(entry)
  })
})
