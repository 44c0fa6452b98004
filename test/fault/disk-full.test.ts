import { existsSync, readdirSync, rmSync, statfsSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { smallDisk } from '../support/faults/small-disk.ts'
import { expectRefusal } from '../support/refusal.ts'
import { aSite, type Site } from '../support/sites/site.ts'

const disk = smallDisk('12m')
if (disk === undefined) {
  const line = 'disk-full: left out, because only root can mount a small file system'
  if (process.env['PGTS_TEST_REQUIRE_ALL'] !== undefined) throw new Error(line)
  console.log(line)
}

describe.runIf(disk !== undefined)('a repository on a disk that becomes full', () => {
  let site: Site
  let repo: string
  const filler = () => join(disk!, 'filler')
  /** Leave so many bytes on the disk. */
  const leave = (bytes: number) => {
    rmSync(filler(), { force: true })
    const { bavail, bsize } = statfsSync(disk!)
    writeFileSync(filler(), Buffer.alloc(Math.max(0, bavail * bsize - bytes), 1))
  }
  const inRepo = () => (existsSync(repo) ? readdirSync(repo, { recursive: true, encoding: 'utf8' }).sort() : [])
  const withRepo = (...args: string[]) => site.pgts([`--repo1-path=${repo}`, ...args])

  beforeAll(async () => {
    repo = join(disk!, 'repo')
    // The server archives to another repository, so that only the test fills this disk.
    site = await aSite({ walSegsizeMb: 1, options: { 'compress-type': 'none', 'process-max': '2' } })
    await site.cluster.query('create table t as select g, md5(g::text) from generate_series(1, 1000) g')
    expect((await withRepo('stanza-create')).code).toBe(0)
  })
  afterAll(() => site?.[Symbol.asyncDispose]())

  test('a backup that does not fit ends with the reason, and is not listed', async () => {
    // Uncompressed the cluster is 20 MB and more.
    const args = ['--no-archive-check', 'backup']
    expectRefusal(await withRepo(...args), {
      code: 64,
      says: [repo, /no space left on device/],
      hint: /free space .*expire/,
    })
    expect(inRepo().filter((name) => /[0-9]F\/backup\.manifest$/.test(name))).toEqual([])
    expect(readdirSync(join(site.dir, 'lock'))).toEqual([])
    const sessions = "select 1 from pg_stat_activity where backend_type = 'client backend' and pid <> pg_backend_pid()"
    await expect.poll(() => site.cluster.query(sessions), { timeout: 60_000 }).toEqual([])

    // The directory is not a backup; it is removed by the next backup that fits.
    const info = JSON.parse((await withRepo('--output=json', 'info')).stdout) as { backup: unknown[] }[]
    expect(info[0]?.backup).toEqual([])
    // The copied files were removed: WAL needs the space.
    expect(readdirSync(join(repo, 'backup/main')).filter((name) => /F$/.test(name))).toEqual([])
    const fits = await withRepo('--type=full', '--no-archive-check', '--compress-type=zst', 'backup')
    expect(fits.code, fits.stdout).toBe(0)
    expect(inRepo().filter((name) => /[0-9]F\/backup\.manifest$/.test(name))).toHaveLength(1)
  }, 120_000)

  test('with little free space any step may fail, and no partial backup is listed', async () => {
    const whole = () => inRepo().filter((name) => /[0-9]F\/backup\.manifest$/.test(name))
    const good = whole()
    for (const kilobytes of [0, 8, 64, 512, 2048]) {
      leave(kilobytes * 1024)
      const result = await withRepo('--type=full', '--no-archive-check', '--compress-type=zst', 'backup')
      expectRefusal(result, { code: 64, says: [/no space left on device/], hint: /free space/ })
      expect(whole()).toEqual(good)
      const left = readdirSync(join(repo, 'backup/main')).filter((name) => /F$/.test(name))
      expect(left.filter((name) => !good.some((path) => path.includes(name)))).toEqual([])
    }
    rmSync(filler())
    expect((await withRepo('--output=json', 'info')).stdout).toContain('"status":{"code":0')
  }, 120_000)

  test('archive-push leaves no file, PostgreSQL keeps the segment, and with free space it succeeds', async () => {
    const segment = String((await site.cluster.query('select pg_walfile_name(pg_switch_wal()) as name'))[0]?.['name'])
    const push = () => withRepo('archive-push', join(site.cluster.dataDir, 'pg_wal', segment))
    const before = inRepo()
    for (const bytes of [0, 100_000]) {
      leave(bytes)
      expectRefusal(await push(), { code: 64, says: [/repo1/, /no space left on device/], hint: /free space/ })
      rmSync(filler())
      const after = inRepo()
      expect(after.filter((name) => name.includes(segment) || name.endsWith('.tmp'))).toEqual([])
      expect(after.filter((name) => !before.includes(name) && !/15-1(\/[0-9A-F]{16})?$/.test(name))).toEqual([])
    }
    expect((await push()).code).toBe(0)
    expect(inRepo().filter((name) => name.includes(segment))).toHaveLength(1)
  }, 120_000)

  test('stanza-create on a full disk leaves no files that a later stanza-create treats as a stanza', async () => {
    leave(0)
    const args = ['--repo1-path', join(disk!, 'repo2')]
    const other = () => site.pgts([args.join('='), 'stanza-create'])
    expectRefusal(await other(), { code: 64, says: [/no space left on device/], hint: /free space/ })
    rmSync(filler())
    expect((await other()).code).toBe(0)
  }, 120_000)
})
