import { describe, expect, test } from 'vitest'
import { failureOf, resolving, yaml } from './resolving.ts'

const EXAMPLE = `global:
  process-max: 4
  repo:                      # repo1, repo2, ...
    - path: /var/lib/pgts
      retention-full: 2
  backup: { start-fast: true }       # settings of one command
stanza:
  main:
    pg: [{ path: /var/lib/postgresql/17/main, port: 5432 }]
    archive-push: { compress-level: 1 }
`

describe('the example of the manual', () => {
  test('configures a backup', async () => {
    const resolved = await resolving('backup --stanza=main', yaml(EXAMPLE))
    expect(resolved).toMatchObject({ dialect: 'yaml', warnings: [], stanzas: ['main'] })
    if (resolved.command !== 'backup') throw new Error('not a backup')
    const { options } = resolved
    expect(options).toMatchObject({ processMax: 4, startFast: true, compressType: 'zst', compressLevel: 3 })
    expect(options.repo).toMatchObject([{ key: 1, path: '/var/lib/pgts', retentionFull: 2 }])
    expect(options.pg).toMatchObject([{ key: 1, path: '/var/lib/postgresql/17/main', port: 5432 }])
    expect(resolved.values.get('repo1-retention-full')?.origin).toBe('/etc/pgts/pgts.yaml line 5:7')
  })

  test('configures an archive-push', async () => {
    const resolved = await resolving('archive-push --stanza=main /pg/pg_wal/x', yaml(EXAMPLE))
    expect(resolved.options).toMatchObject({ compressLevel: 1, archiveAsync: false, archiveResident: true })
  })
})

test('without a file the defaults of pgts apply', async () => {
  const resolved = await resolving('archive-push --stanza=main /wal')
  expect(resolved).toMatchObject({ dialect: 'yaml', configFiles: [] })
  expect(resolved.options).toMatchObject({
    processMax: 6,
    compressType: 'zst',
    logPath: '/var/log/pgts',
    lockPath: '/tmp/pgbackrest',
    repo: [{ key: 1, path: '/var/lib/pgts', type: 'posix' }],
  })
  const restore = await resolving('restore --stanza=main --pg1-path=/pg')
  expect(restore.options).toMatchObject({ spoolPath: '/var/spool/pgts', allowRoot: true, cmd: '/usr/bin/pgts' })
})

test('lists, maps, several repositories and commands within a stanza are read', async () => {
  const text = `
global:
  repo:
    1: { path: /a }
    3:
      path: /c
      retention-full: 7
      retention-full-type: time
  annotation: { owner: ops, shift: 2 }
  exclude: [one, two/]
  process-max: auto
  archive-timeout: 90
  buffer-size: 64KiB
  log-level-console: off
  backup-standby: false
  backup: { repo: [{ retention-full: 4 }] }
stanza:
  main:
    pg:
      - path: /pg
        user: 0123
  other: {}
`
  const resolved = await resolving('backup --stanza=main', yaml(text))
  expect(resolved).toMatchObject({ warnings: [], stanzas: ['main', 'other'] })
  expect(resolved.options).toMatchObject({
    annotation: new Map([
      ['owner', 'ops'],
      ['shift', '2'],
    ]),
    exclude: ['one', 'two/'],
    processMax: 6,
    archiveTimeout: 90_000,
    bufferSize: 65_536,
    logLevelConsole: 'off',
    backupStandby: 'n',
    repo: [
      { key: 1, path: '/a', retentionFull: 4 },
      { key: 3, path: '/c', retentionFull: 7, retentionFullType: 'time' },
    ],
    pg: [{ key: 1, path: '/pg', user: '0123' }],
  })
})

describe('an error in pgts.yaml has line and column', () => {
  test.each([
    ['global:\n  a: [', 'format', '/etc/pgts/pgts.yaml line 2:', ''],
    ['global:\n  delta: true\n  delta: false', 'format', 'line 3:3', ''],
    ['globl: {}', 'option-invalid', 'line 1:1: there is no globl at the top', 'did you mean global?'],
    ['main: {}', 'option-invalid', 'line 1:1: there is no main at the top', 'known are global or stanza'],
    ['global:\n  proces-max: 1', 'option-invalid', 'line 2:3: there is no proces-max', 'did you mean process-max?'],
    [
      'global:\n  repo1-path: /x',
      'option-invalid',
      'there is no repo1-path',
      'write it in the list repo: [{ path: ... }]',
    ],
    [
      'global:\n  retention-full: 1',
      'option-invalid',
      'there is no retention-full',
      'it is now retention-full in repo',
    ],
    ['global:\n  repo: [{ pth: /x }]', 'option-invalid', 'there is no pth in repo', 'did you mean path?'],
    ['global:\n  backupp: {}', 'option-invalid', 'there is no backupp', 'did you mean backup?'],
    ['global:\n  repo: /x', 'option-invalid-value', 'line 2:9: repo must be a list', 'repo: [{ path: ... }]'],
    ['global:\n  repo: { 0: { path: /x } }', 'option-invalid-value', 'numbers from 1 to 256', ''],
    ['global:\n  pg: [{ path: /x }]', 'option-invalid', 'pg1-path is only valid below stanza', ''],
    ['global:\n  stanza: x', 'option-invalid', 'stanza is only valid on the command line', ''],
    ['global:\n  backup: { link-all: true }', 'option-invalid', 'link-all is not valid for command backup', ''],
    ['global:\n  start-fast: y', 'option-invalid-value', 'start-fast must be true or false', ''],
    ['global:\n  process-max: true', 'option-invalid-value', 'process-max is not a boolean', ''],
    ['global:\n  process-max:', 'option-invalid-value', 'process-max has no value', ''],
    ['global:\n  process-max: [1, 2]', 'option-invalid-value', 'process-max takes one value', ''],
    ['global:\n  process-max: { a: 1 }', 'option-invalid-value', 'process-max takes a value, not a map', ''],
    ['global: 1', 'option-invalid-value', 'global must be a map', ''],
    ['stanza:\n  other:\n    pg: [{ prt: 1 }]', 'option-invalid', 'line 3:12: there is no prt in pg', 'port'],
    [
      'global:\n  process-max: 1000',
      'option-invalid-value',
      'process-max (from /etc/pgts/pgts.yaml line 2:3) must be between 1 and 999',
      '',
    ],
  ])('%j', async (text, code, words, hint) => {
    const error = await failureOf('backup --stanza=main --pg1-path=/pg', yaml(text))
    expect(error.code).toBe(code)
    expect(error.message).toContain(words)
    expect(error.hints.join('\n')).toContain(hint)
  })
})

test('anchors and aliases are resolved', async () => {
  const text = `
global: { repo: [{ path: &where /a }], process-max: &n 3 }
stanza:
  main: &cluster { pg: &pg [{ path: /pg, socket-path: *where }], backup: { process-max: *n } }
  copy: *cluster
`
  for (const stanza of ['main', 'copy']) {
    const { options } = await resolving(`backup --stanza=${stanza}`, yaml(text))
    expect(options).toMatchObject({ processMax: 3, pg: [{ path: '/pg', socketPath: '/a' }] })
  }
})

test('an empty file is an empty configuration', async () => {
  for (const text of ['', '# nothing\n', 'global:\nstanza:\n']) {
    expect((await resolving('info', yaml(text))).options).toMatchObject({ repo: [{ path: '/var/lib/pgts' }] })
  }
})
