import { execFileSync } from 'node:child_process'
import { readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { giveToTestUser, isInstalled, type RunResult } from '../support/postgres/postgres.ts'
import { aSite, PGBACKREST, type Site } from '../support/sites/site.ts'

const installed = PGBACKREST.includes('/') || isInstalled(PGBACKREST)
const version = installed ? execFileSync(PGBACKREST, ['version'], { encoding: 'utf8' }).trim() : ''

type Program = 'pgts' | 'pgbackrest'
const DIRECTIONS = [
  ['pgts', 'pgbackrest'],
  ['pgbackrest', 'pgts'],
] as const
const CODECS = ['none', 'gz', 'lz4', 'zst'] as const

describe.runIf(installed)(`an archive shared with ${version}`, () => {
  describe.each(DIRECTIONS)('%s pushes, %s gets', (pusher, getter) => {
    let site: Site
    /** Finished segments that are not archived: archiving of the server fails. */
    let segments: string[]
    const wal = (name: string) => join(site.cluster.dataDir, 'pg_wal', name)
    const run = (program: Program, ...args: string[]): Promise<RunResult> =>
      site[program](args, { cwd: site.cluster.dataDir })
    const push = (program: Program, name: string, type = 'gz') =>
      run(program, `--compress-type=${type}`, 'archive-push', `pg_wal/${name}`)

    beforeAll(async () => {
      site = await aSite({ conf: { archive_command: 'false # pgbackrest' } })
      for (let i = 0; i < 6; i++) {
        await site.cluster.query('create table if not exists t (i int)')
        await site.cluster.query('insert into t select generate_series(1, 1000)')
        await site.cluster.query('select pg_switch_wal()')
      }
      segments = readdirSync(join(site.cluster.dataDir, 'pg_wal', 'archive_status'))
        .map((name) => name.replace('.ready', ''))
        .filter((name) => /^[0-9A-F]{24}$/.test(name))
        .sort()
      expect(segments.length).toBeGreaterThanOrEqual(6)
      expect(await run(pusher, 'stanza-create')).toMatchObject({ code: 0 })
    })
    afterAll(async () => site[Symbol.asyncDispose]())

    test.each(CODECS)('a segment with compress-type %s', async (type) => {
      const name = segments[CODECS.indexOf(type)]!
      expect(await push(pusher, name, type)).toMatchObject({ code: 0, stdout: '' })
      const target = join(site.dir, `got-${type}`)
      expect(await run(getter, 'archive-get', name, target)).toMatchObject({ code: 0 })
      expect(readFileSync(target).equals(readFileSync(wal(name)))).toBe(true)

      // The other program treats the segment as archived, and refuses another one with its name.
      const again = await push(getter, name)
      expect(again).toMatchObject({ code: 0 })
      expect(again.stdout + again.stderr).toContain('same checksum')
      const original = readFileSync(wal(name))
      const other = Buffer.from(original)
      other[original.length - 1]! ^= 1
      writeFileSync(wal(name), other)
      expect(await push(getter, name)).toMatchObject({ code: 45 })
      writeFileSync(wal(name), original)
    })

    test('timeline history, backup history and partial files', async () => {
      const partial = `${segments[4]}.partial`
      writeFileSync(wal('00000002.history'), '1\t0/5000000\tno recovery target specified\n')
      writeFileSync(wal(`${segments[4]}.00000028.backup`), 'START WAL LOCATION: 0/28\n')
      writeFileSync(wal(partial), readFileSync(wal(segments[4]!)))
      giveToTestUser(join(site.cluster.dataDir, 'pg_wal'))
      for (const name of ['00000002.history', `${segments[4]}.00000028.backup`, partial]) {
        expect(await push(pusher, name)).toMatchObject({ code: 0 })
        const target = join(site.dir, 'got-other')
        rmSync(target, { force: true })
        expect(await run(getter, 'archive-get', name, target)).toMatchObject({ code: 0 })
        expect(readFileSync(target).equals(readFileSync(wal(name)))).toBe(true)
      }
      expect(await run(getter, 'archive-get', segments[4]!, join(site.dir, 'x'))).toMatchObject({ code: 1 })
      // pgts replaces no archived file; pgbackrest replaces history files.
      for (const name of ['00000002.history', `${segments[4]}.00000028.backup`, partial]) {
        const content = readFileSync(wal(name))
        const other = Buffer.from(content)
        other[content.length - 1]! ^= 1
        expect(await push('pgts', name)).toMatchObject({ code: 0 })
        writeFileSync(wal(name), other)
        expect(await push('pgts', name)).toMatchObject({ code: 45 })
        writeFileSync(wal(name), content)
        expect(await run('pgbackrest', 'archive-get', name, join(site.dir, 'got-other'))).toMatchObject({ code: 0 })
        expect(readFileSync(join(site.dir, 'got-other')).equals(content)).toBe(true)
      }
    })

    test('a missing segment is reported with exit code 1', async () => {
      expect(await run(getter, 'archive-get', '0000000900000000000000FF', join(site.dir, 'x'))).toMatchObject({
        code: 1,
      })
    })

    test('the stanza is valid for the other program, and a missing copy is written again', async () => {
      rmSync(join(site.repo, 'archive/main/archive.info.copy'))
      expect(await run(getter, 'stanza-create')).toMatchObject({ code: 0 })
      expect(readFileSync(join(site.repo, 'archive/main/archive.info.copy'))).toEqual(
        readFileSync(join(site.repo, 'archive/main/archive.info')),
      )
    })
  })

  test.each([
    ['pgts', 'pgbackrest'],
    ['pgbackrest', 'pgts'],
  ] as const)('%s archives a live server, %s checks it', async (archiver, checker) => {
    await using site = await aSite({ archiver })
    expect(await site[archiver](['stanza-create'])).toMatchObject({ code: 0 })
    const result = await site[checker](['--log-level-console=info', 'check'])
    expect(result).toMatchObject({ code: 0 })
    expect(result.stdout).toContain('successfully archived')
  })
})
