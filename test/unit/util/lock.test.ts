import { spawn } from 'node:child_process'
import {
  chmodSync,
  closeSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { build } from 'esbuild'
import { afterAll, beforeEach, describe, expect, test } from 'vitest'
import { tryLockExclusive } from '../../../src/util/flock.ts'
import { lockNames, parseLockContent, serialiseLockContent } from '../../../src/util/lock-file.ts'
import { acquireLocks, assertNotStopped, readLocks, type LockRequest } from '../../../src/util/lock.ts'

const umask = process.umask(0)
const scratch = mkdtempSync(join(tmpdir(), 'pgts-lock-'))
afterAll(() => {
  process.umask(umask)
  rmSync(scratch, { recursive: true })
})

let count = 0
let runs = 0
let lockPath: string
beforeEach(() => {
  runs = 0
  lockPath = join(scratch, `lock-${++count}`)
})

const acquire = (request: Partial<LockRequest> = {}) =>
  acquireLocks({
    lockPath,
    stanza: 'main',
    types: ['backup'],
    repoKeys: [1],
    execId: `${process.pid}-${String(++runs).padStart(8, '0')}`,
    ...request,
  })

describe('lock file names and content', () => {
  test('are those of both generations of pgBackRest, in one order', () => {
    const names = lockNames('main', ['restore', 'backup', 'archive', 'backup'], [2, 10, 1, 2])
    expect(names.map(({ name }) => name)).toEqual([
      'main-archive.lock',
      'main-archive-1.lock',
      'main-archive-2.lock',
      'main-archive-10.lock',
      'main-backup.lock',
      'main-backup-1.lock',
      'main-backup-2.lock',
      'main-backup-10.lock',
      'main-restore.lock',
      'main-restore-1.lock',
      'main-restore-2.lock',
      'main-restore-10.lock',
    ])
  })

  test('hold keys in the order in which pgBackRest reads them; sizes only in pairs', () => {
    const content = { szCplt: 5406720, sz: 35420309, pid: 8507, pctCplt: 1526, execId: '8507-e4ef30d6' }
    const text = '{"execId":"8507-e4ef30d6","pctCplt":1526,"pid":8507,"sz":35420309,"szCplt":5406720}'
    expect(serialiseLockContent(content)).toBe(text)
    expect(parseLockContent(text)).toEqual(content)
    expect(serialiseLockContent({ execId: 'a', pid: 1, sz: 3 })).toBe('{"execId":"a","pid":1}')
    expect(() => parseLockContent('{"pid":1}')).toThrow('not a lock file')
  })
})

describe('locks', () => {
  test('are files with their holder in a directory for the group, and are removed at the end', async () => {
    {
      await using _locks = await acquire({ types: ['archive', 'backup'], repoKeys: [1, 2] })
      expect(readdirSync(lockPath)).toHaveLength(6)
      expect(readFileSync(join(lockPath, 'main-backup-2.lock'), 'utf8')).toBe(
        `{"execId":"${process.pid}-00000001","pid":${process.pid}}`,
      )
      expect((statSync(lockPath).mode & 0o7777).toString(8)).toBe('770')
      expect((statSync(join(lockPath, 'main-backup.lock')).mode & 0o7777).toString(8)).toBe('640')
    }
    expect(readdirSync(lockPath)).toEqual([])
  })

  test('exclude each other, report the holder, and release those taken before', async () => {
    await using _locks = await acquire({ types: ['backup'], repoKeys: [2] })
    unlinkSync(join(lockPath, 'main-backup.lock'))
    const before = readdirSync(lockPath)
    await expect(acquire({ types: ['archive', 'backup'], repoKeys: [1, 2] })).rejects.toMatchObject({
      code: 'lock-acquire',
      exitCode: 50,
      message: expect.stringContaining(`${lockPath}/main-backup-2.lock: it is held by process ${process.pid} (`),
      hints: [expect.stringContaining('wait for it to end')],
    })
    expect(readdirSync(lockPath)).toEqual(before)
  })

  test('are shared by processes with the same exec-id, and stay with the first', async () => {
    const execId = '7-0badcafe'
    await using first = await acquire({ execId })
    first.update({ pctCplt: 5, sz: 10, szCplt: 1 })
    {
      await using second = await acquire({ execId })
      second.update({ pctCplt: 9, sz: 10, szCplt: 2 })
    }
    expect(readLocks(lockPath, 'main')).toMatchObject([
      { repoKey: 1, pctCplt: 5, execId },
      { pctCplt: 5, execId },
    ])
    await expect(acquire()).rejects.toMatchObject({ code: 'lock-acquire' })
  })

  test('of other stanzas and other types do not exclude each other', async () => {
    await using _one = await acquire()
    await using _two = await acquire({ types: ['restore'] })
    await using _three = await acquire({ stanza: 'main-backup' })
    await using _four = await acquire({ types: ['archive'], repoKeys: [2] })
    expect(readLocks(lockPath, 'main').map(({ type, repoKey }) => `${type} ${repoKey}`)).toEqual([
      'archive 2',
      'archive undefined',
      'backup 1',
      'backup undefined',
      'restore 1',
      'restore undefined',
    ])
  })

  test('of other repositories do not exclude each other, and together exclude pgBackRest 2.45', async () => {
    const old = join(lockPath, 'main-backup.lock')
    const free = () => {
      const fd = openSync(old, 'r+')
      try {
        return tryLockExclusive(fd)
      } finally {
        closeSync(fd)
      }
    }
    const one = await acquire({ repoKeys: [1] })
    const two = await acquire({ repoKeys: [2] })
    await expect(acquire({ repoKeys: [1, 2] })).rejects.toMatchObject({ code: 'lock-acquire' })
    one.update({ pctCplt: 1, sz: 10, szCplt: 1 })
    two.update({ pctCplt: 2, sz: 10, szCplt: 2 })
    expect(readLocks(lockPath, 'main')).toMatchObject([
      { repoKey: 1, pctCplt: 1 },
      { repoKey: 2, pctCplt: 2 },
      { pctCplt: 1, execId: `${process.pid}-00000001` },
    ])
    expect(free()).toBe(false)
    await one[Symbol.asyncDispose]()
    expect(free()).toBe(false)
    const again = await acquire({ repoKeys: [1] })
    await two[Symbol.asyncDispose]()
    expect(free()).toBe(false)
    await again[Symbol.asyncDispose]()
    expect(readdirSync(lockPath)).toEqual([])
  })

  test('are refused while pgBackRest 2.45 holds its lock file', async () => {
    await (await acquire())[Symbol.asyncDispose]()
    const fd = openSync(join(lockPath, 'main-backup.lock'), 'w+')
    expect(tryLockExclusive(fd)).toBe(true)
    await expect(acquire({ repoKeys: [2] })).rejects.toMatchObject({ code: 'lock-acquire' })
    closeSync(fd)
    await (await acquire({ repoKeys: [2] }))[Symbol.asyncDispose]()
  })

  test('show progress of the repository that is written to', async () => {
    await using locks = await acquire({ repoKeys: [1, 2] })
    locks.update({ pctCplt: 1526, sz: 10, szCplt: 1 }, 2)
    const shown = readLocks(lockPath, 'main').map(({ repoKey, sz }) => [repoKey, sz])
    expect(shown).toEqual([
      [1, undefined],
      [2, 10],
      [undefined, 10],
    ])
  })

  test('can be taken after release, also by many concurrent processes', async () => {
    let holders = 0
    let most = 0
    let taken = 0
    const contender = async () => {
      for (let i = 0; i < 10; i++) {
        const locks = await acquire().catch(() => undefined)
        if (locks === undefined) continue
        await using _locks = locks
        most = Math.max(most, ++holders)
        taken++
        await new Promise((resolve) => setTimeout(resolve, 3))
        holders--
      }
    }
    await Promise.all([contender(), contender(), contender()])
    expect(most).toBe(1)
    expect(taken).toBeGreaterThan(5)
  })

  test('show progress, which replaces earlier progress', async () => {
    await using locks = await acquire()
    locks.update({ pctCplt: 1526, sz: 35_420_309, szCplt: 5_406_720 })
    expect(readLocks(lockPath, 'main')).toMatchObject([
      { type: 'backup', repoKey: 1, pid: process.pid, pctCplt: 1526, sz: 35_420_309, szCplt: 5_406_720 },
      { type: 'backup', pctCplt: 1526 },
    ])
    locks.update({ pctCplt: 9 })
    expect(readFileSync(join(lockPath, 'main-backup.lock'), 'utf8')).toBe(
      `{"execId":"${process.pid}-00000001","pctCplt":9,"pid":${process.pid}}`,
    )
  })

  test('without holder are not reported, and reading does not take them', async () => {
    expect(readLocks(join(scratch, 'absent'), 'main')).toEqual([])
    mkdirSync(lockPath)
    for (const name of ['main-backup-1.lock', 'main-backup.lock', 'main-nonsense.lock', 'main.stop'])
      writeFileSync(join(lockPath, name), '')
    expect(readLocks(lockPath, 'main')).toEqual([])
    await using _locks = await acquire()
    expect(readLocks(lockPath, 'main')).toHaveLength(2)
  })

  test('are reported while held by a process that has not written yet', () => {
    mkdirSync(lockPath)
    const fd = openSync(join(lockPath, 'main-restore-1.lock'), 'w')
    expect(tryLockExclusive(fd)).toBe(true)
    expect(readLocks(lockPath, 'main')).toEqual([{ type: 'restore', repoKey: 1 }])
  })

  test('are released when their process ends in any way', async () => {
    const bundle = join(process.cwd(), `node_modules/.pgts-lock-${process.pid}.mjs`)
    await build({
      entryPoints: ['src/util/lock.ts'],
      outfile: bundle,
      bundle: true,
      format: 'esm',
      platform: 'node',
      packages: 'external',
    })
    try {
      const script = `const { acquireLocks } = await import(process.argv[1])
        globalThis.locks = await acquireLocks({ lockPath: process.argv[2], stanza: 'main', types: ['backup'], repoKeys: [1], execId: 'x-1' })
        console.log('held'); setInterval(() => undefined, 1000)`
      const child = spawn(process.execPath, ['--input-type=module', '-e', script, bundle, lockPath], {
        stdio: ['ignore', 'pipe', 'inherit'],
      })
      await new Promise((resolve) => child.stdout.once('data', resolve))
      await expect(acquire()).rejects.toMatchObject({
        message: expect.stringContaining(`held by process ${child.pid} (`),
      })
      child.kill('SIGKILL')
      await new Promise((resolve) => child.on('close', resolve))
      expect(existsSync(join(lockPath, 'main-backup.lock'))).toBe(true)
      await using _locks = await acquire()
      expect(readLocks(lockPath, 'main')[0]?.pid).toBe(process.pid)
    } finally {
      rmSync(bundle)
    }
  })

  test('report code, message and hint when the directory is invalid or of another user', async () => {
    writeFileSync(join(scratch, 'plain'), '')
    await expect(acquire({ lockPath: join(scratch, 'plain') })).rejects.toMatchObject({
      code: 'lock-acquire',
      message: expect.stringMatching(/^cannot use the lock path .*plain: it is not a directory$/) as string,
    })
    if (process.getuid?.() === 0) return
    mkdirSync(lockPath)
    chmodSync(lockPath, 0o500)
    await expect(acquire()).rejects.toMatchObject({
      code: 'lock-acquire',
      hints: [expect.stringContaining('lock-path')],
    })
  })
})

describe('stop files', () => {
  test('of the stanza and of all stanzas are effective', () => {
    mkdirSync(lockPath)
    assertNotStopped(lockPath, 'main')
    writeFileSync(join(lockPath, 'other.stop'), '')
    assertNotStopped(lockPath, 'main')
    writeFileSync(join(lockPath, 'all.stop'), '')
    expect(() => assertNotStopped(lockPath, 'main')).toThrow(`stop file exists for all stanzas: ${lockPath}/all.stop`)
    expect(() => assertNotStopped(lockPath, '')).toThrow('all stanzas')
    writeFileSync(join(lockPath, 'main.stop'), '')
    expect(() => assertNotStopped(lockPath, 'main')).toThrow(`stop file exists for stanza main: ${lockPath}/main.stop`)
  })
})
