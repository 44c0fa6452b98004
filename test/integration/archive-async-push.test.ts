import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { readPushStatus } from '../../src/core/archive/async-push/push-status.ts'
import { spoolPaths } from '../../src/core/archive/spool-files.ts'
import { aSite, type Site } from '../support/site.ts'

const SMALL = { walSegsizeMb: 1 }

async function until(what: string, test: () => boolean | Promise<boolean>, site?: Site): Promise<void> {
  for (const deadline = Date.now() + 30_000; Date.now() < deadline; await sleep(20)) if (await test()) return
  const log =
    site === undefined
      ? ''
      : `\n${asyncLog(site)}\n${readdirSync(join(site.dir, 'spool'), { recursive: true }).join('\n')}`
  throw new Error(`waited in vain for ${what}${log}`)
}

function asyncLog(site: Site): string {
  const path = join(site.dir, 'log', 'main-archive-push-async.log')
  return existsSync(path) ? readFileSync(path, 'utf8') : '(no log)'
}

function archived(site: Site, repo = site.repo): string[] {
  const path = join(repo, 'archive', 'main', '15-1')
  if (!existsSync(path)) return []
  return readdirSync(path, { recursive: true, encoding: 'utf8' })
    .map((name) => /([0-9A-F]{24})-[0-9a-f]{40}/.exec(name)?.[1])
    .filter((name) => name !== undefined)
    .sort()
}

/** Write and switch so often; answers the names of the segments. */
async function segments(site: Site, count: number): Promise<string[]> {
  const names: string[] = []
  for (let i = 0; i < count; i++) {
    const [row] = await site.cluster.query(
      `select pg_walfile_name(pg_logical_emit_message(true, 'test', repeat('x', 1000))) as name`,
    )
    await site.cluster.query('select pg_switch_wal()')
    names.push(String(row!['name']))
  }
  return names
}

test('a server archives through the background process, and pgbackrest finds all of it', async () => {
  await using site = await aSite({ ...SMALL, options: { 'archive-async': 'y', 'process-max': '2' } })
  await site.pgtsOk('stanza-create')
  const names = await segments(site, 12)
  await until('all segments', () => names.every((name) => archived(site).includes(name)), site)
  expect(new Set(archived(site)).size).toBe(archived(site).length)
  await until(
    'PostgreSQL to know',
    () => {
      const marks = readdirSync(join(site.cluster.dataDir, 'pg_wal', 'archive_status'))
      return !marks.some((mark) => mark.endsWith('.ready'))
    },
    site,
  )
  const spool = spoolPaths(join(site.dir, 'spool'), 'main')
  await until('an empty spool', () => readdirSync(spool.out).length === 0, site)
  await until('the status', () => readPushStatus(spool)?.state === 'idle')
  expect(readPushStatus(spool)).toMatchObject({
    pushed: { files: expect.any(Number) as number },
    queue: { files: 0 },
    repositories: [{ key: 1 }],
  })
  expect(asyncLog(site)).toMatch(/push \d+ WAL file\(s\) to archive/)
  await site.pgbackrestOk('check')
  await site.verifiedByPgbackrest()
})
