import { existsSync, readdirSync, utimesSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { archiveSegments } from '../../support/hosts/archive-segments.ts'
import { canSwitchUsers } from '../../support/hosts/hosts.ts'
import { PushSite } from '../../support/hosts/push-site.ts'
import { allProcesses, signal } from '../../support/processes/processes.ts'
import { until } from '../../support/until.ts'

describe.runIf(canSwitchUsers)('archiving to a repository host', { timeout: 180_000 }, () => {
  let site: PushSite
  beforeAll(async () => {
    site = await PushSite.start({ postgres: { 'log-level-console': 'warn' } })
    await site.postgres.pgtsOk('--stanza=main', 'stanza-create')
  })
  afterAll(() => site[Symbol.asyncDispose]())

  const archive = (count: number) => archiveSegments(site.cluster, `${site.repository.dir}/repo`, count)

  const serving = () =>
    allProcesses().filter(
      ({ args }) => args[0] === 'node' && args.join(' ').includes(`${site.repository.dir}/bin/pgts`),
    )

  test('keeps one connection while segments follow each other', async () => {
    const pids = () => serving().map(({ pid }) => pid)
    // With log-level info no process stays, because calls log what they do. The first segments are pushed before the process that stays has started.
    await until(
      'one process that serves several segments',
      async () => {
        const before = pids()
        await archive(2)
        return before.length === 1 && before.join() === pids().join()
      },
      { details: () => site.cluster.log().slice(-3000) },
    )
  })

  test('closes the connection after a change of the configuration there, and archives on', async () => {
    const [{ pid } = { pid: 0 }] = serving()
    utimesSync(site.repository.configFile, new Date(), new Date())
    await until('the end of the old connection', () => serving().every((one) => one.pid !== pid))
    await archive(2)
  })

  test('archives on after the process there was killed', async () => {
    for (const { pid } of serving()) signal(pid, 'SIGKILL')
    await archive(2)
  })

  test('pushes and fetches in the background, through one process on each host', async () => {
    site.configure({ postgres: { 'archive-async': 'y', 'process-max': '2' } })
    await archive(6)
    const [row] = await site.cluster.query('select last_archived_wal as name from pg_stat_archiver')
    const target = join(site.postgres.dir, 'spool/fetched')
    await site.postgres.pgtsOk('--stanza=main', 'archive-get', String(row?.['name']), target)
    expect(existsSync(target)).toBe(true)
  })

  test('a second repository on this host gets the same segments', async () => {
    site.configure({ postgres: { 'repo2-path': `${site.postgres.dir}/repo` } })
    // The background process keeps it for a moment after the last segment.
    const locks = () => readdirSync(join(site.postgres.dir, 'lock'))
    await until('the release of the archive lock', () => !locks().some((name) => name.includes('archive')))
    await site.postgres.pgtsOk('--stanza=main', 'stanza-create')
    const { stdout } = await site.postgres.pgtsOk('--stanza=main', 'check')
    expect(stdout.match(/successfully archived to/g)).toHaveLength(2)
  })
})
