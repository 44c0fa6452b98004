import { describe, expect, test } from 'vitest'
import { selectDatabases } from '../../../../src/core/restore/selective.ts'
import { isPgtsError, type PgtsError } from '../../../../src/util/error.ts'
import { aFile, aManifest } from '../../../support/builders/manifest.ts'

const PG = 'PG_15_202209061'
const files = [1, 4, 5, 16402, 16403, 16404].flatMap((oid) => [
  aFile(`pg_data/base/${oid}/PG_VERSION`),
  aFile(`pg_data/base/${oid}/1259`),
])
const manifest = aManifest(
  [
    ...files,
    aFile('pg_data/global/1262'),
    aFile(`pg_tblspc/16384/${PG}/16402/PG_VERSION`),
    aFile(`pg_tblspc/16384/${PG}/16402/20000`),
    aFile(`pg_tblspc/16384/${PG}/16405/PG_VERSION`),
    aFile(`pg_tblspc/16384/${PG}/16405/20001`),
  ],
  {
    databases: [
      { name: '16404', oid: 16403, lastSystemOid: 4 },
      { name: 'f\xc3\xbcnf', oid: 16405, lastSystemOid: 4 },
      { name: 'postgres', oid: 5, lastSystemOid: 4 },
      { name: 'sales', oid: 16402, lastSystemOid: 4 },
      { name: 'template0', oid: 4, lastSystemOid: 4 },
      // Created again by a user, so its oid is not that of a system database.
      { name: 'template1', oid: 16404, lastSystemOid: 4 },
    ],
  },
)
const select = (include: string[], exclude: string[] = []) => selectDatabases(manifest, { include, exclude })

function refusal(include: string[], exclude: string[] = []): PgtsError {
  try {
    select(include, exclude)
  } catch (error) {
    if (isPgtsError(error)) return error
    throw error
  }
  throw new Error('no error was thrown')
}

test('without a selection, or with all user databases, everything is restored', () => {
  expect(select([])).toBeUndefined()
  expect(select(['sales', '16403', 'f\xc3\xbcnf'])).toBeUndefined()
})

describe('db-include', () => {
  test('zeroes the other user databases, and no system database', () => {
    expect(select(['sales'])?.zeroed).toEqual([16403, 16405])
    expect(select(['f\xc3\xbcnf'])?.zeroed).toEqual([16402, 16403])
  })
  test('with exclude, zeroes a system database too', () => {
    expect(select(['sales', 'f\xc3\xbcnf'], ['postgres'])?.zeroed).toEqual([5, 16403])
  })
  test.each([['postgres'], ['template0'], ['1'], ['5'], ['template1'], ['16404']])(
    'of the system database %s is refused',
    (name) => {
      expect(refusal([name])).toMatchObject({ code: 'db-invalid', exitCode: 81 })
    },
  )
  test('with exclude of the same database is refused', () => {
    const error = refusal(['sales'], ['16402'])
    expect(error).toMatchObject({ code: 'db-invalid' })
    expect(error.message).toContain('sales (16402)')
  })
})

test('db-exclude alone zeroes the named databases', () => {
  expect(select([], ['sales', '16403'])?.zeroed).toEqual([16402, 16403])
  expect(select([], ['5'])?.zeroed).toEqual([5])
  expect(select([], ['sales', '16402'])?.shown).toEqual(['sales (16402)'])
})

test.each([['nowhere'], ['99999'], ['0'], ['016402'], ['']])('an unknown database %j is refused', (name) => {
  for (const error of [refusal([name]), refusal([], [name])]) {
    expect(error).toMatchObject({ code: 'db-missing', exitCode: 80 })
    expect(error.hints[0]).toContain('fünf (16405)')
    expect(error.hints[0]).toContain('sales (16402)')
  }
})

test('files in base and in tablespaces are zeroed, PG_VERSION is not', () => {
  const { isZeroed } = select(['16403'])!
  expect([...manifest.files].map(({ name }) => name).filter(isZeroed)).toEqual([
    'pg_data/base/16402/1259',
    `pg_tblspc/16384/${PG}/16402/20000`,
    `pg_tblspc/16384/${PG}/16405/20001`,
  ])
  // No files of another version or database in the same tablespace.
  expect(isZeroed('pg_tblspc/16384/PG_14_202107181/16402/1')).toBe(false)
  expect(isZeroed('pg_data/base/164020/1259')).toBe(false)
  expect(isZeroed('pg_data/global/1262')).toBe(false)
})

test('databases of an offline backup are selected by oid only', () => {
  const offline = { ...manifest, databases: [] }
  expect(selectDatabases(offline, { include: ['16402'], exclude: [] })?.zeroed).toEqual([16403, 16404, 16405])
  expect(() => selectDatabases(offline, { include: ['sales'], exclude: [] })).toThrow(
    expect.objectContaining({ hints: [expect.anything(), expect.stringContaining('oids')] }),
  )
})
