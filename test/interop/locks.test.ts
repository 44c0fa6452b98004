import { spawn, spawnSync, execFileSync, type ChildProcess } from 'node:child_process'
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { acquireLocks, assertNotStopped, readLocks, stopFileOf } from '../../src/util/lock.ts'
import { PGBACKREST } from '../support/sites/site.ts'
import { giveToTestUser, isInstalled, makeTestDir, testUser } from '../support/processes/test-user.ts'

const installed = PGBACKREST.includes('/') || isInstalled(PGBACKREST)
const version = installed ? execFileSync(PGBACKREST, ['version'], { encoding: 'utf8' }).trim() : ''
/** Since 2.46 there is one lock for each repository. */
const perRepository = Number(/\d+\.(\d+)/.exec(version)?.[1]) >= 50
const asUser = testUser.switched ? { uid: testUser.uid, gid: testUser.gid } : {}
const execId = `${process.pid}-0badcafe`

describe.runIf(installed)(`locks of pgts and ${version}`, () => {
  let directory: string
  let lockPath: string
  const children: ChildProcess[] = []

  beforeEach(() => {
    directory = makeTestDir('locks')
    lockPath = join(directory, 'lock')
    for (const path of ['repo/backup/main', 'repo/archive/main', 'pg', 'lock', 'log'])
      mkdirSync(join(directory, path), { recursive: true })
    const config = `[global]\nrepo1-path=${directory}/repo\nlock-path=${lockPath}\nlog-level-file=off\nlog-path=${directory}/log\n[main]\npg1-path=${directory}/pg\n`
    writeFileSync(join(directory, 'pgbackrest.conf'), config)
    giveToTestUser(directory)
  })
  afterEach(() => {
    for (const child of children.splice(0)) child.kill('SIGKILL')
  })

  const args = (...words: string[]) => [`--config=${directory}/pgbackrest.conf`, '--stanza=main', ...words]
  const run = (...words: string[]) => {
    const { status, stdout, stderr } = spawnSync(PGBACKREST, args(...words), {
      ...asUser,
      encoding: 'utf8',
      timeout: 20_000,
    })
    return { status, stdout, stderr }
  }

  /** A pgbackrest that holds its lock until it is killed, because it waits for the writer of a pipe. */
  async function lockHolder(): Promise<ChildProcess> {
    execFileSync('mkfifo', ['-m', '666', join(directory, 'repo/backup/main/backup.info')])
    const child = spawn(PGBACKREST, args('expire'), { ...asUser, stdio: 'ignore' })
    children.push(child)
    const deadline = Date.now() + 10_000
    while (!readdirSync(lockPath).some((name) => statSync(join(lockPath, name)).size > 0)) {
      if (Date.now() > deadline) throw new Error('pgbackrest did not take its lock')
      await sleep(10)
    }
    return child
  }

  /** In production both programs run as one user; here the tests may run as root and create files that only root can open. */
  const acquire = async () => {
    const locks = await acquireLocks({ lockPath, stanza: 'main', types: ['backup'], repoKeys: [1], execId })
    giveToTestUser(lockPath)
    return locks
  }

  test('pgbackrest is refused while pgts holds the lock, and succeeds after that', async () => {
    {
      await using _locks = await acquire()
      const refused = run('expire')
      expect(refused.status).toBe(50)
      expect(refused.stderr + refused.stdout).toMatch(/unable to acquire lock on file '.*main-backup(-1)?\.lock'/)
    }
    // There is nothing to expire, which it reports only with the lock.
    expect(run('expire').status).not.toBe(50)
    expect(run('expire').status).not.toBe(0)
    expect(readdirSync(lockPath)).toEqual([])
  })

  test('pgts is refused while pgbackrest holds the lock, with its process id; after a kill the lock is free', async () => {
    const child = await lockHolder()
    await expect(acquire()).rejects.toMatchObject({
      code: 'lock-acquire',
      message: expect.stringMatching(
        new RegExp(`held by process ${child.pid} \\(.*pgbackrest --stanza=main expire\\)$`),
      ),
      hints: [expect.stringContaining('wait for it')],
    })
    expect(readLocks(lockPath, 'main')).toMatchObject([
      { type: 'backup', pid: child.pid, repoKey: perRepository ? 1 : undefined },
    ])
    // Locks that were taken before the held one were released.
    expect(readdirSync(lockPath)).toEqual([perRepository ? 'main-backup-1.lock' : 'main-backup.lock'])

    child.kill('SIGKILL')
    await new Promise((resolve) => child.on('close', resolve))
    expect(readLocks(lockPath, 'main')).toEqual([])
    await using _locks = await acquire()
    expect(readLocks(lockPath, 'main').map(({ repoKey }) => repoKey)).toEqual([1, undefined])
  })

  test('info of pgbackrest shows a running backup of pgts with its progress', async () => {
    // It reads locks only if a repository exists.
    for (const name of ['backup', 'archive']) {
      cpSync(`test/vectors/pgbackrest/2.45-gz/${name}.info`, join(directory, `repo/${name}/main/${name}.info`))
    }
    giveToTestUser(directory)
    const lockOf = () => {
      const { stdout } = run('--output=json', 'info')
      return (JSON.parse(stdout) as { status: { lock: { backup: Record<string, unknown> } } }[])[0]?.status.lock.backup
    }
    const sizes = perRepository ? { size: 35_420_309, 'size-cplt': 5_406_720 } : {}
    {
      await using locks = await acquire()
      locks.update({ pctCplt: 1526, sz: 35_420_309, szCplt: 5_406_720 })
      expect(lockOf()).toMatchObject({ held: true, ...sizes })
      expect(run('info').stdout).toContain('backup/expire running - 15.26% complete')
      // 2.59 derives the percentage from the sizes.
      locks.update({ pctCplt: 10_000, sz: 5, szCplt: 5 })
      expect(run('info').stdout).toContain('backup/expire running - 100.00% complete')
      // One size alone would crash its info.
      locks.update({ pctCplt: 10_000, sz: 5 })
      expect(lockOf()).toMatchObject({ held: true })
      locks.update({})
      expect(lockOf()).toMatchObject({ held: true })
      expect(readFileSync(join(lockPath, 'main-backup-1.lock'), 'utf8')).toBe(
        `{"execId":"${execId}","pid":${process.pid}}`,
      )
    }
    expect(lockOf()).toMatchObject({ held: false })
  })

  test('pgts reads the locks of pgbackrest while info of pgbackrest reads those of pgts', async () => {
    // A reader holds a free lock for a moment; that must not refuse a command.
    for (let round = 0; round < 5; round++) {
      const reader = spawn(PGBACKREST, args('info'), { ...asUser, stdio: 'ignore' })
      children.push(reader)
      const closed = new Promise((resolve) => reader.on('close', resolve))
      for (let i = 0; i < 10; i++) {
        await using _locks = await acquire()
        expect(readLocks(lockPath, 'main')).toHaveLength(2)
      }
      await closed
    }
  })

  test('a stop of pgbackrest stops pgts', () => {
    expect(stopFileOf(lockPath, 'main')).toBeUndefined()
    expect(run('stop').status).toBe(0)
    expect(existsSync(join(lockPath, 'main.stop'))).toBe(true)
    expect(() => assertNotStopped(lockPath, 'main')).toThrow(/stop file exists for stanza main/)
    expect(() => assertNotStopped(lockPath, 'other')).not.toThrow()
    expect(run('start').status).toBe(0)
    expect(() => assertNotStopped(lockPath, 'main')).not.toThrow()
  })
})
