import { describe, expect, test } from 'vitest'
import { checkServer, type ArchiveCheckPolicy } from '../../../../src/core/stanza/check-config.ts'
import type { ServerFacts } from '../../../../src/postgres/client.ts'
import { postgresVersion } from '../../../../src/postgres/versions.ts'
import { isPgtsError, PgtsError } from '../../../../src/util/error.ts'

const facts: ServerFacts = {
  versionNum: 150018,
  postgres: postgresVersion('15'),
  dataDirectory: '/pg/15',
  archiveMode: 'on',
  archiveCommand: 'pgts --stanza=main archive-push %p',
  archiveLibrary: '',
  archiveTimeoutMs: 0,
  checkpointTimeoutMs: 300_000,
  walSegmentSize: 16 * 1024 * 1024,
  inRecovery: false,
}
const cluster = { pgPath: '/pg/15', version: '15' }
const policy: ArchiveCheckPolicy = { archive: { program: '/opt/pgts/bin/pgts', stanza: 'main' }, archiveMode: true }

function failure(over: Partial<ServerFacts>, change: Partial<ArchiveCheckPolicy> = {}, where = cluster): PgtsError {
  try {
    checkServer({ ...facts, ...over }, where, { ...policy, ...change })
  } catch (error) {
    if (isPgtsError(error)) return error
    throw error
  }
  throw new Error('no error was thrown')
}

const accept = (over: Partial<ServerFacts>, change: Partial<ArchiveCheckPolicy> = {}, where = cluster) =>
  expect(() => checkServer({ ...facts, ...over }, where, { ...policy, ...change })).not.toThrow()

describe('the server', () => {
  test('must run on pg1-path', () => {
    accept({}, {}, { pgPath: '/pg/15/', version: '15' })
    const error = failure({ dataDirectory: '/pg/14' })
    expect(error).toMatchObject({ exitCode: 58 })
    expect(error.message).toMatch(/\/pg\/14.*\/pg\/15/)
    expect(error.hints.join()).toContain('pg1-path')
  })

  test('must have the version of pg_control', () => {
    expect(failure({}, {}, { pgPath: '/pg/15', version: '16' })).toMatchObject({ exitCode: 58 })
  })

  test('is checked also when archiving is not', () => {
    expect(failure({ dataDirectory: '/pg/14' }, { archive: false })).toMatchObject({ exitCode: 58 })
  })
})

describe('archiving', () => {
  test('must be on', () => {
    const error = failure({ archiveMode: 'off', archiveCommand: '' })
    expect(error).toMatchObject({ exitCode: 87, message: expect.stringContaining('archive_mode is off') as string })
    expect(error.hints.join()).toContain('archive_mode = on')
  })

  test('must not be active on standbys, unless archive-mode-check is off', () => {
    const error = failure({ archiveMode: 'always' })
    expect(error).toMatchObject({ exitCode: 67 })
    expect(error.hints.join()).toContain('--no-archive-mode-check')
    accept({ archiveMode: 'always' }, { archiveMode: false })
  })

  test.each([
    '/usr/bin/pgbackrest --stanza=main archive-push %p',
    '/opt/pgts/bin/pgts archive-push %p',
    'wrap-pgts.sh %p',
  ])('may be done by %s', (archiveCommand) => accept({ archiveCommand }))

  test.each(['cp %p /mnt/archive/%f', '/bin/true', 'wal-g wal-push %p'])('is not done by %s', (archiveCommand) => {
    const error = failure({ archiveCommand })
    expect(error).toMatchObject({ exitCode: 68 })
    expect(error.message).toContain(archiveCommand)
    expect(error.hints.join()).toContain("archive_command = '/opt/pgts/bin/pgts --stanza=main archive-push %p'")
  })

  test('needs a command', () => {
    expect(failure({ archiveCommand: '' })).toMatchObject({ exitCode: 68, message: 'archive_command is not set' })
  })

  test('is not done by a library', () => {
    const error = failure({ archiveLibrary: 'basic_archive' })
    expect(error).toMatchObject({ exitCode: 68, message: expect.stringContaining('basic_archive') as string })
    expect(error.hints.join()).toContain('archive_library to an empty value')
  })

  test('is not checked without archive-check', () =>
    accept({ archiveMode: 'off', archiveCommand: '' }, { archive: false }))
})
