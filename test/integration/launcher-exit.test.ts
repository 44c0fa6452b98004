import { chmodSync, cpSync, mkdirSync, readFileSync, rmSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { beforeAll, describe, expect, test } from 'vitest'
import { LaunchSite, SEGMENT, SHELLS } from '../support/processes/launch-site.ts'
import {
  giveToTestUser,
  isInstalled,
  pgtsProgram,
  runAs,
  testUser,
  type RunOptions,
} from '../support/processes/test-user.ts'

const shells = SHELLS.filter(([name, [program = '']]) => isInstalled(program) && !name.includes(' -'))
const PUSH = ['--stanza=main', 'archive-push', `pg_wal/${SEGMENT}`]
const GET = ['--stanza=main', 'archive-get', SEGMENT, 'pg_wal/RECOVERYXLOG']

let site: LaunchSite
beforeAll(() => {
  site = new LaunchSite()
})

/** A program in the place of Node; every shell runs the same one. */
function fakeProgram(name: string, text: string): string {
  const path = join(site.dir, name)
  writeFileSync(path, text, { mode: 0o755 })
  chmodSync(path, 0o755)
  giveToTestUser(path)
  return path
}

const endingWith = (code: number) => fakeProgram('ends', `#!/bin/sh\nexit ${code}\n`)

/** A data directory in one state of recovery. */
function dataDir(name: string, files: Readonly<Record<string, string>>): string {
  const dir = join(site.dir, name)
  rmSync(dir, { recursive: true, force: true })
  mkdirSync(dir)
  for (const [file, text] of Object.entries(files)) writeFileSync(join(dir, file), text)
  giveToTestUser(dir)
  return dir
}

const codes = async (args: readonly string[], options: RunOptions, program = pgtsProgram()): Promise<unknown[]> =>
  Promise.all(
    shells.map(async ([, [shell = '', ...more]]) => {
      const { code, signal } = await runAs(testUser, shell, [...more, program, ...args], options)
      return code ?? signal
    }),
  )

const all = (code: number) => shells.map(() => code)

describe('the exit code of archive-push', () => {
  test.each([
    // [exit code of Node, exit code for PostgreSQL]
    [0, 125],
    [1, 125],
    [9, 125],
    [13, 125],
    [25, 125],
    [100, 125],
    [125, 125],
    [126, 125],
    [127, 125],
    [134, 125],
    [143, 125],
    [152, 125],
    [25 + 128, 25],
    [63 + 128, 63],
    [99 + 128, 99],
    [105 + 128, 105],
    [111 + 128, 111],
    [240, 0],
    [241, 1],
    [249, 125],
    [124 + 128, 124],
    [125 + 128, 125],
    [254, 125],
    [255, 125],
  ])('is, for exit code %i of Node, %i', async (node, code) => {
    expect(await codes(PUSH, { cwd: site.data, env: { PGTS_NODE: endingWith(node) } })).toEqual(all(code))
  })
})

const RECOVERING: readonly (readonly [string, Readonly<Record<string, string>>])[] = [
  ['recovery.signal', { 'recovery.signal': '' }],
  ['recovery.conf', { 'recovery.conf': "restore_command = 'x'\n" }],
  ['recovery.conf with standby_mode off', { 'recovery.conf': "standby_mode = 'on'\nstandby_mode = off\n" }],
  ['recovery.conf with a comment', { 'recovery.conf': "# standby_mode = 'on'\n" }],
]
const STANDBYS: readonly (readonly [string, Readonly<Record<string, string>>])[] = [
  ['standby.signal', { 'standby.signal': '' }],
  ['both signals', { 'standby.signal': '', 'recovery.signal': '' }],
  ['standby_mode', { 'recovery.conf': "restore_command = 'x'\nstandby_mode = 'on'\n" }],
  ['standby_mode without an equals sign', { 'recovery.conf': '\t Standby_Mode\t TRUE # comment' }],
  ['nothing', {}],
]

describe('the exit code of archive-get', () => {
  const ANSWERS: readonly (readonly [number, number, number])[] = [
    // [exit code of Node, exit code for a server in archive recovery, exit code for a standby]
    [0, 201, 125],
    [1, 201, 125],
    [2, 201, 125],
    [13, 201, 125],
    [46, 201, 125],
    [125, 201, 125],
    [127, 201, 125],
    [137, 201, 125],
    [143, 201, 125],
    [46 + 128, 201, 46],
    [103 + 128, 201, 103],
    [240, 0, 0],
    [241, 1, 1],
    [242, 200, 200],
    [255, 201, 125],
  ]
  test.each(RECOVERING)('is above 125 without an answer, with %s', async (_, files) => {
    const cwd = dataDir('recovering', files)
    for (const [node, code] of ANSWERS)
      expect([node, await codes(GET, { cwd, env: { PGTS_NODE: endingWith(node) } })]).toEqual([node, all(code)])
  })

  test.each(STANDBYS)('is at most 125 without an answer, with %s', async (_, files) => {
    const cwd = dataDir('standby', files)
    for (const [node, , code] of ANSWERS)
      expect([node, await codes(GET, { cwd, env: { PGTS_NODE: endingWith(node) } })]).toEqual([node, all(code)])
  })

  test.each<[string, (dir: string) => readonly string[], (dir: string) => Record<string, string>]>([
    ['--pg1-path=', (dir) => [`--pg1-path=${dir}`, ...GET], () => ({})],
    ['--pg1-path', (dir) => [...GET.slice(0, 1), '--pg1-path', dir, ...GET.slice(1)], () => ({})],
    ['PGTS_PG1_PATH', () => GET, (dir) => ({ PGTS_PG1_PATH: dir })],
    ['PGBACKREST_PG1_PATH', () => GET, (dir) => ({ PGBACKREST_PG1_PATH: dir })],
  ])('is above 125 when %s names the data directory', async (_, argsFor, envFor) => {
    const dir = dataDir('a recovering * dir', { 'recovery.signal': '' })
    const env = { PGTS_NODE: endingWith(1), ...envFor(dir) }
    expect(await codes(argsFor(dir), { cwd: '/', env })).toEqual(all(201))
    rmSync(join(dir, 'recovery.signal'))
    expect(await codes(argsFor(dir), { cwd: '/', env })).toEqual(all(125))
  })
})

/** Faults that prevent the start of Node or of pgts. `node`: a program in place of Node; undefined: Node itself. */
const FAULTS: readonly (readonly [string, () => { node?: string; env?: Record<string, string>; limit?: string }])[] = [
  ['Node is missing', () => ({ node: '/nonexistent/node' })],
  ['Node is not on the PATH', () => ({ node: 'no-such-node' })],
  ['Node is a directory', () => ({ node: '/' })],
  ['Node is not executable', () => ({ node: '/etc/passwd' })],
  ['Node is an empty file', () => ({ node: fakeProgram('empty', '') })],
  [
    'Node is a script whose interpreter is missing',
    () => ({ node: fakeProgram('no-interpreter', '#!/nonexistent\n') }),
  ],
  ['Node is killed', () => ({ node: fakeProgram('killed', '#!/bin/sh\nkill -9 $$\n') })],
  ['Node aborts', () => ({ node: fakeProgram('aborts', '#!/bin/sh\nkill -ABRT $$\n') })],
  ['a wrapper hides the exit code of Node', () => ({ node: fakeProgram('wraps', '#!/bin/sh\nfalse\ntrue\n') })],
  ['NODE_OPTIONS has an option that does not exist', () => ({ env: { NODE_OPTIONS: '--no-such-option' } })],
  ['NODE_OPTIONS loads a missing file', () => ({ env: { NODE_OPTIONS: '--require=/nonexistent.js' } })],
  [
    'the configuration of OpenSSL is broken',
    () => {
      const path = fakeProgram('openssl.cnf', 'openssl_conf = x\n[x]\nssl_conf = y\n[y\n')
      // Node ends with the number of OpenSSL's error, which is 100 here.
      return { env: { NODE_OPTIONS: `--openssl-config=${path}` } }
    },
  ],
  ['there is not enough memory for Node', () => ({ limit: '--as=300000000' })],
  ['Node may open no files', () => ({ limit: '--nofile=12' })],
  // bash retries for 15 s.
  ['the shell cannot fork', () => ({ limit: '--nproc=0' })],
]

describe.each(FAULTS)('when %s', (name, fault) => {
  const patient = name === 'the shell cannot fork' ? shells.filter(([shell]) => shell !== 'bash') : shells

  test('archive-get and archive-push neither succeed nor report a missing file', async () => {
    const { node, env, limit } = fault()
    const call = async (args: readonly string[], cwd: string) => {
      const results = await Promise.all(
        patient.map(([, shell]) => {
          const command = [...(limit === undefined ? [] : ['prlimit', limit]), ...shell, pgtsProgram(), ...args]
          return runAs(testUser, command[0]!, command.slice(1), {
            cwd,
            env: { ...(node === undefined ? {} : { PGTS_NODE: node }), ...env },
          })
        }),
      )
      for (const { stderr } of results) expect(stderr).toContain('ERROR: [125]: Node, or the shell')
      return results.map(({ code }) => code)
    }
    const recovering = dataDir('recovering', { 'recovery.signal': '' })
    const standby = dataDir('standby', { 'standby.signal': '' })
    expect(await call(GET, recovering)).toEqual(patient.map(() => 201))
    expect(await call(GET, standby)).toEqual(patient.map(() => 125))
    expect(await call(PUSH, standby)).toEqual(patient.map(() => 125))
  })
})

test('archive-get and archive-push read the standard input of the launcher, and work without one', async () => {
  const node = fakeProgram('reads', '#!/bin/sh\ncat\nexit 240\n')
  const ends = endingWith(240)
  const calls = shells.flatMap(([, shell]) =>
    [PUSH, GET].map(async (args) => {
      const options = { cwd: site.data, env: { PGTS_NODE: node }, input: 'a\nb' }
      const [program = '', ...words] = [...shell, pgtsProgram(), ...args]
      expect(await runAs(testUser, program, words, options)).toMatchObject({ code: 0, stdout: 'a\nb', stderr: '' })
      const closed = ['-c', 'exec <&-; exec "$@"', 'sh', program, ...words]
      expect((await runAs(testUser, 'sh', closed, { ...options, env: { PGTS_NODE: ends } })).code).toBe(0)
    }),
  )
  await Promise.all(calls)
})

test('a launcher that cannot resolve its link without readlink does not report the end of WAL', async () => {
  const link = join(site.dir, 'link to pgts')
  symlinkSync(pgtsProgram(), link)
  giveToTestUser(link)
  const cwd = dataDir('recovering', { 'recovery.signal': '' })
  const env = { PATH: '/nonexistent' }
  for (const [, [shell = '', ...more]] of shells) {
    const path = `/usr/bin/${shell}`
    expect((await runAs(testUser, path, [...more, link, ...GET], { cwd, env })).code).toBe(201)
    expect((await runAs(testUser, path, [...more, link, ...PUSH], { cwd: site.data, env })).code).toBe(125)
  }
})

test('a signal while the launcher waits for the background process ends it before Node starts', async () => {
  const busy = new LaunchSite()
  busy.archived()
  await busy.prepare('archive-push', ['--stanza=main', 'archive-push', undefined])
  rmSync(join(busy.out, `${SEGMENT}.ok`))
  const bin = join(busy.dir, 'bin')
  mkdirSync(bin)
  writeFileSync(join(bin, 'sleep'), '#!/bin/sh\nkill -TERM $PPID\n', { mode: 0o755 })
  busy.own()
  for (const [, shell] of shells) {
    const result = await busy.run(shell, PUSH, { env: { PATH: `${bin}:/usr/bin:/bin` } })
    const stderr = 'ERROR: [063]: terminated on signal SIGTERM\n'
    expect(result).toEqual({ code: 63, stdout: '', stderr, node: undefined, script: undefined })
  }
})

describe('a truncated launcher', () => {
  test('does not exit with 0, nor with a code that ends recovery', async () => {
    const dir = join(site.dir, 'half')
    mkdirSync(join(dir, 'bin'), { recursive: true })
    const program = join(dir, 'bin', 'pgts')
    const size = readFileSync(pgtsProgram()).length
    // Nothing before that was executed.
    const first = readFileSync(pgtsProgram(), 'utf8').indexOf(' EXIT\n') + 6
    const recovering = dataDir('recovering', { 'recovery.signal': '' })
    const step = Math.ceil((size - first) / 40)
    for (let bytes = first; bytes < size; bytes += step) {
      cpSync(pgtsProgram(), program)
      truncateSync(program, bytes)
      giveToTestUser(dir)
      const env = { PGTS_NODE: endingWith(210) }
      expect([bytes, await codes(GET, { cwd: recovering, env }, program)]).toEqual([bytes, all(201)])
      expect([bytes, await codes(PUSH, { cwd: site.data, env }, program)]).toEqual([bytes, all(125)])
      expect(await codes(['info'], { cwd: site.data, env }, program)).not.toContain(0)
    }
  })
})
