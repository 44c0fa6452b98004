import { spawnSync } from 'node:child_process'
import {
  chownSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { aSite, type Site } from '../support/sites/site.ts'
import { giveToTestUser, type RunResult } from '../support/processes/test-user.ts'

/** Neither root nor the user of the tests. */
const STRANGER = 65534

let site: Site
let lockPath: string
let segment: string
beforeAll(async () => {
  site = await aSite({ walSegsizeMb: 1, conf: { archive_command: '/bin/false # pgbackrest' } })
  lockPath = join(site.dir, 'lock-planted')
  await site.pgtsOk('stanza-create')
  await site.cluster.query('create table t (i int)')
  const [row] = await site.cluster.query('select pg_walfile_name(pg_switch_wal()) as name')
  segment = String(row!['name'])
}, 120_000)
afterAll(() => site?.[Symbol.asyncDispose]())
beforeEach(() => {
  rmSync(lockPath, { recursive: true, force: true })
  mkdirSync(lockPath, { mode: 0o777 })
})

const text = ({ stdout, stderr }: RunResult): string => stdout + stderr
const pgts = (...args: string[]) => site.pgts([`--lock-path=${lockPath}`, ...args], { deadlineMs: 60_000 })
const push = (...args: string[]) =>
  site.pgts([`--lock-path=${lockPath}`, ...args, 'archive-push', `pg_wal/${segment}`], {
    cwd: site.cluster.dataDir,
    deadlineMs: 60_000,
  })

describe('a lock path of another user', () => {
  beforeEach(() => chownSync(lockPath, STRANGER, STRANGER))

  test.each([['backup', '--type=full'], ['expire'], ['stop'], ['restore', '--delta']])(
    'ends %s with [050] and names path and owner',
    async (command, ...more) => {
      const result = await pgts(...more, command)
      expect({ code: result.code, text: text(result) }).toMatchObject({ code: 50 })
      expect(text(result)).toContain(`cannot use the lock path ${lockPath}: it belongs to uid ${STRANGER} (nobody)`)
      expect(readdirSync(lockPath)).toEqual([])
    },
  )

  test.each([[], ['--archive-async', `--spool-path=/tmp`]])(
    'and a stop file in it do not prevent archive-push (%s %s)',
    async (...more) => {
      writeFileSync(join(lockPath, 'all.stop'), '')
      chownSync(join(lockPath, 'all.stop'), STRANGER, STRANGER)
      const result = await push(...more)
      expect({ code: result.code, text: text(result) }).toMatchObject({ code: 0 })
      expect(text(result)).toContain(`cannot use the lock path ${lockPath}: it belongs to uid ${STRANGER} (nobody)`)
    },
  )

  test('does not prevent info', async () => {
    const result = await pgts('info')
    expect({ code: result.code, text: text(result) }).toMatchObject({ code: 0 })
  })

  test('is refused also when it is a link of another user to a directory of the own user', async () => {
    const link = join(site.dir, 'planted-link')
    rmSync(link, { force: true })
    symlinkSync(site.cluster.dataDir, link)
    spawnSync('chown', ['-h', String(STRANGER), link])
    const result = await site.pgts([`--lock-path=${link}`, '--type=full', 'backup'])
    expect(result.code).toBe(50)
    expect(text(result)).toContain(`${link} is a link that belongs to uid ${STRANGER} (nobody)`)
    expect(readdirSync(site.cluster.dataDir).filter((name) => name.endsWith('.lock'))).toEqual([])
  })
})

describe('in a lock path of the own user', () => {
  beforeEach(() => giveToTestUser(lockPath))

  const victim = () => join(site.cluster.dataDir, 'standby.signal')
  const lock = (name = 'main-backup.lock') => join(lockPath, name)
  test.each([
    ['a dangling link', 'it is a symbolic link', () => symlinkSync(victim(), lock())],
    ['a named pipe', 'it is a named pipe', () => spawnSync('mkfifo', ['-m', '666', lock()])],
    ['a directory', '', () => mkdirSync(lock())],
    [
      'a file of another user',
      `it belongs to uid ${STRANGER} (nobody)`,
      () => {
        writeFileSync(lock(), '', { mode: 0o666 })
        spawnSync('chmod', ['666', lock()])
        chownSync(lock(), STRANGER, STRANGER)
      },
    ],
    [
      'a hard link of another file',
      'it has a second name',
      () => {
        writeFileSync(join(lockPath, 'other'), 'content')
        giveToTestUser(lockPath)
        spawnSync('ln', [join(lockPath, 'other'), lock()])
      },
    ],
  ])('%s in place of a lock file is refused', async (_, reason, plant) => {
    plant()
    const result = await pgts('expire')
    expect({ code: result.code, text: text(result) }).toMatchObject({ code: 50 })
    expect(text(result)).toContain(`cannot take the lock ${lock()}: ${reason}`)
    expect(existsSync(victim())).toBe(false)
    if (existsSync(join(lockPath, 'other'))) expect(readFileSync(join(lockPath, 'other'), 'utf8')).toBe('content')
    expect((await pgts('info')).code).toBe(0)
  })

  test('a stop file that is a pipe, a link or of another user is ignored', async () => {
    for (const plant of [
      () => spawnSync('mkfifo', ['-m', '666', lock('main.stop')]),
      () => symlinkSync('/etc/passwd', lock('main.stop')),
      () => writeFileSync(lock('main.stop'), ''),
    ]) {
      rmSync(lock('main.stop'), { force: true })
      plant()
      spawnSync('chown', ['-h', String(STRANGER), lock('main.stop')])
      const pushed = await push()
      expect({ code: pushed.code, text: text(pushed) }).toMatchObject({ code: 0 })
      expect(text(pushed)).toContain(`cannot check the stop file ${lock('main.stop')}`)
      expect((await pgts('expire')).code).toBe(50)
    }
  })

  test('a stop file of the own user or of root stops archiving', async () => {
    expect((await pgts('stop')).code).toBe(0)
    expect((await push()).code).toBe(62)
    chownSync(lock('main.stop'), 0, 0)
    expect((await push()).code).toBe(62)
  })

  test('a symbolic link of the own user or of root in the path is followed', async () => {
    const link = join(site.dir, 'own-link')
    symlinkSync(lockPath, link)
    for (const owner of ['0', 'ours']) {
      if (owner === 'ours') giveToTestUser(site.dir)
      expect((await site.pgts([`--lock-path=${link}`, 'expire'])).code).toBe(0)
    }
  })
})

describe('a lock path that cannot be written', () => {
  const places: readonly [string, string, RegExp][] = [
    ['below a file', '/etc/passwd/lock', /part of the path is not a directory|ENOTDIR/],
    ['read-only', '/proc/lock', /no such file|not permitted|permission denied|ENOENT/],
    ['of root', '/root-only', /permission denied/],
  ]
  test.each(places)('%s: commands end with [050], and archive-push pushes synchronously', async (_, place, reason) => {
    const path = place === '/root-only' ? join(site.dir, 'root-only') : place
    if (place === '/root-only' && !existsSync(path)) mkdirSync(path, { mode: 0o700 })
    const spool = join(site.dir, 'spool-lock')
    mkdirSync(spool, { recursive: true })
    giveToTestUser(spool)
    const expired = await site.pgts([`--lock-path=${path}`, 'expire'])
    expect({ code: expired.code, text: text(expired) }).toMatchObject({ code: 50 })
    expect(text(expired)).toContain(path)
    expect(text(expired)).toMatch(reason)
    const pushed = await site.pgts(
      [`--lock-path=${path}`, '--archive-async', `--spool-path=${spool}`, 'archive-push', `pg_wal/${segment}`],
      { cwd: site.cluster.dataDir },
    )
    expect({ code: pushed.code, text: text(pushed) }).toMatchObject({ code: 0 })
    expect(text(pushed)).toContain('WARN')
    expect(text(pushed)).toContain(path)
  })
})
