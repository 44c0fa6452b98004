import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  realpathSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import {
  dependenciesOf,
  fixedVariables,
  launchEnvironment,
  type LaunchHint,
  launchHintPath,
  type LaunchHintRequest,
  removeLaunchHint,
  serialiseLaunchHint,
  writeLaunchHint,
} from '../../../../src/core/archive/launcher/launch-hint.ts'
import { setMtimeNs } from '../../../../src/util/mtime.ts'
import { makeTestDir } from '../../../support/postgres/postgres.ts'

const hint: LaunchHint = {
  mode: 'spool',
  pgData: '/pg data/15',
  spool: '/spool/archive/main',
  lockPath: '/lock',
  server: { pid: '4711', started: '1700000000' },
  environment: launchEnvironment({ PGTS_STANZA: 'main' }, '/usr/bin/pgts', [1]),
  dependencies: ['/etc', '/etc/pgts'],
  callPattern: ['--stanza=main', 'archive-push', undefined],
}

describe('serialiseLaunchHint', () => {
  test('writes one value on each line, in the order in which the launcher reads them', () => {
    expect(serialiseLaunchHint(hint)?.split('\n')).toEqual([
      'pgts-launch 2',
      '3',
      '=--stanza=main',
      '=archive-push',
      '%',
      '/pg data/15',
      '4711',
      '1700000000',
      '',
      `pgts||||=main${'|'.repeat(fixedVariables.length - 4)}`,
      '/spool/archive/main',
      '/lock',
      '2',
      '/etc',
      '/etc/pgts',
      'end',
      '',
    ])
  })

  test.each([
    ['a newline in the data directory', { pgData: '/a\nb' }],
    ['a newline in an argument', { callPattern: ['--x=\n', undefined] }],
    ['a carriage return', { spool: '/spool\r' }],
    ['bytes that are not UTF-8', { callPattern: ['--x=\ufffd', undefined] }],
    ['a relative path', { lockPath: 'lock' }],
    ['no process id', { server: { pid: '-4711', started: '1' } }],
    ['no start time', { server: { pid: '4711', started: '' } }],
    [
      'an environment that contains the separator',
      { environment: launchEnvironment({ PGTS_CONFIG: '/a|b' }, 'pgts', [1]) },
    ],
    ['too many arguments', { callPattern: Array.from({ length: 61 }, () => 'x') }],
    ['a text that is too long', { spool: `/${'x'.repeat(9000)}` }],
  ])('returns no hint for %s', (_, change) => {
    expect(serialiseLaunchHint({ ...hint, ...change })).toBeUndefined()
  })

  test('distinguishes an empty variable from a missing one', () => {
    expect(launchEnvironment({ PGTS_STANZA: '' }, 'pgts', [1])).not.toEqual(launchEnvironment({}, 'pgts', [1]))
  })

  test('does not match a call by another program name', () => {
    expect(launchEnvironment({}, '/usr/bin/pgbackrest', [1])).toEqual(launchEnvironment({}, '/opt/bin/pgbackrest', [1]))
    expect(launchEnvironment({}, '/usr/bin/pgbackrest', [1])).not.toEqual(launchEnvironment({}, '/usr/bin/pgts', [1]))
  })
})

test('bin/pgts compares the variables of fixedVariables, in the same order', () => {
  const script = readFileSync(new URL('../../../../bin/pgts', import.meta.url), 'utf8').replaceAll('\\\n', '')
  const compared = fixedVariables.map((name) => `|\${${name}+=$${name}}`).join('')
  expect(script).toContain(`pgts_env="$pgts_called${compared}"\n`)
})

test('a hint names configured repositories beyond repo4 and compares their variables', () => {
  const environment = launchEnvironment({ PGTS_REPO17_PATH: '/r', PGBACKREST_REPO5_HOST: 'h' }, 'pgts', [1, 5, 17])
  const lines = serialiseLaunchHint({ ...hint, environment })?.split('\n') ?? []
  expect(lines[8]).toBe('5 17')
  expect(lines[9]).toBe(`pgts${'|'.repeat(fixedVariables.length)}${'|'.repeat(6)}=h|=/r${'|'.repeat(5)}`)
})

test.each(['../x', 'a/b', '', '.x', '-x', 'a b'])('returns no path of a hint for stanza %j', (stanza) => {
  expect(launchHintPath('/pg', stanza, 'archive-push')).toBeUndefined()
})

describe('dependenciesOf', () => {
  test('returns the file, its directory, directories of links, and the deepest directory of a missing file', async () => {
    const dir = realpathSync(makeTestDir('dependency'))
    mkdirSync(join(dir, 'v1'))
    writeFileSync(join(dir, 'v1', 'pgts.yaml'), '')
    mkdirSync(join(dir, 'etc'))
    symlinkSync('../v1', join(dir, 'etc', 'current'))
    symlinkSync(join(dir, 'etc', 'current', 'pgts.yaml'), join(dir, 'pgts.yaml'))
    symlinkSync('loop', join(dir, 'loop'))
    expect(await dependenciesOf([join(dir, 'pgts.yaml')])).toEqual([
      dir,
      join(dir, 'etc'),
      join(dir, 'v1'),
      join(dir, 'v1', 'pgts.yaml'),
    ])
    expect(await dependenciesOf([join(dir, 'etc', 'no', 'such', 'file')])).toEqual([join(dir, 'etc')])
    expect(await dependenciesOf([join(dir, 'loop')])).toEqual([dir])
  })
})

describe('writeLaunchHint', () => {
  function place(): { dir: string; request: LaunchHintRequest; path: string } {
    const dir = join(makeTestDir('hint'), 'data')
    mkdirSync(join(dir, 'pg_wal', 'archive_status'), { recursive: true })
    writeFileSync(join(dir, 'postmaster.pid'), `4711\n${dir}\n1700000000\n5432\n/tmp\n*\n`)
    writeFileSync(join(dir, 'postgresql.conf'), '')
    utimesSync(join(dir, 'postmaster.pid'), 1_700_000_000, 1_700_000_000)
    const request: LaunchHintRequest = {
      command: 'archive-push',
      mode: 'spool',
      stanza: 'main',
      pgPath: dir,
      spool: '/spool/archive/main',
      lockPath: '/lock',
      configLooked: [join(dir, '..', 'pgts.yaml')],
      environment: launchEnvironment({}, 'pgts', [1]),
      callPattern: ['--stanza=main', 'archive-push', undefined],
      startedMs: 1_800_000_000_123,
    }
    return { dir, request, path: join(dir, 'pg_wal', 'archive_status', 'main.pgts-push') }
  }

  test('sets the start time of the process and mode 0600', async () => {
    const { dir, request, path } = place()
    const link = `${dir}-link`
    symlinkSync(dir, link)
    expect(await writeLaunchHint({ ...request, pgPath: link })).toBe(true)
    const text = readFileSync(path, 'utf8')
    expect(text).toContain(`\n${realpathSync(dir)}\n4711\n1700000000\n`)
    expect(text).toContain(`\n${realpathSync(dir)}/postgresql.conf\n`)
    expect(statSync(path).mtimeMs).toBeCloseTo(1_800_000_000_123, 0)
    expect(statSync(path).mode & 0o777).toBe(0o600)
    expect(readdirSync(join(path, '..'))).toEqual(['main.pgts-push'])
    await removeLaunchHint(dir, 'main', 'archive-push')
    expect(existsSync(path)).toBe(false)
  })

  test('includes a postgresql.conf outside of the data directory', async () => {
    const { dir, request, path } = place()
    const elsewhere = join(makeTestDir('etc'), 'postgresql.conf')
    writeFileSync(elsewhere, '')
    writeFileSync(join(dir, 'postmaster.opts'), `/bin/postgres "-D" "${dir}" "-c" "config_file=${elsewhere}"\n`)
    expect(await writeLaunchHint(request)).toBe(true)
    expect(readFileSync(path, 'utf8')).toContain(`\n${realpathSync(elsewhere)}\n`)
  })

  test.each<[string, (dir: string) => void]>([
    ['no server runs', (dir) => rmSync(join(dir, 'postmaster.pid'))],
    ['the server was started after this process', (dir) => utimesSync(join(dir, 'postmaster.pid'), 2e9, 2e9)],
    ['postmaster.pid is truncated', (dir) => writeFileSync(join(dir, 'postmaster.pid'), '4711')],
    ['archive_status does not exist', (dir) => renameSync(join(dir, 'pg_wal'), join(dir, 'pg_xlog'))],
    ['the data directory does not exist', (dir) => rmSync(dir, { recursive: true })],
  ])('writes no hint when %s', async (_, change) => {
    const { dir, request, path } = place()
    change(dir)
    expect(await writeLaunchHint(request)).toBe(false)
    expect(existsSync(path)).toBe(false)
  })

  test('removes a hint that is no longer possible', async () => {
    const { request, path } = place()
    expect(await writeLaunchHint(request)).toBe(true)
    expect(await writeLaunchHint({ ...request, callPattern: ['a\nb', undefined] })).toBe(false)
    expect(existsSync(path)).toBe(false)
  })
})

test('setMtimeNs sets a modification time with nanoseconds', () => {
  const path = join(makeTestDir('mtime'), 'file')
  writeFileSync(path, '')
  setMtimeNs(path, 1_700_000_000_123_456_789n)
  expect(statSync(path, { bigint: true }).mtimeNs).toBe(1_700_000_000_123_456_789n)
})
