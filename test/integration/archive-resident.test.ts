import { chmodSync, cpSync, mkdirSync, readdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { Installation } from '../support/processes/installation.ts'
import { signal } from '../support/processes/processes.ts'
import { giveToTestUser, pgts, pgtsProgram, reachableNode } from '../support/processes/test-user.ts'
import { startCluster } from '../support/postgres/postgres.ts'
import { dataChecksum } from '../support/postgres/data-checksum.ts'
import { aReplica, readyOf, restored } from '../support/sites/replica.ts'
import { QUIET, ResidentCalls, WAITING, waitingSegments, waitingSite } from '../support/sites/resident.ts'
import { aSite } from '../support/sites/site.ts'
import { until } from '../support/until.ts'

/** Synchronous archive-push and archive-get of real servers through resident processes. */

test('a resident process pushes segments, and every fault leaves a call to Node', { timeout: 240_000 }, async () => {
  const { site, calls, more, next } = await waitingSite()
  await using _site = site
  // On a slow machine more calls start Node while a resident process starts.
  await more(120)
  expect(await calls.push(next(), { words: ['--no-archive-resident'] })).toMatchObject({ ...QUIET, node: true })
  expect(calls.residents()).toEqual([])
  expect(await calls.push(next(), { words: ['--log-level-console=info'] })).toMatchObject({
    code: 0,
    stdout: expect.stringContaining('INFO: pushed WAL file') as string,
  })
  expect(calls.residents()).toEqual([])

  // The first call starts it, and calls of tools whose working directory is another one are answered, too.
  expect(await calls.push(next())).toMatchObject({ ...QUIET, node: true })
  let pid = await calls.warm(next)
  expect(await calls.push(next(), { cwd: '/' })).toMatchObject({ ...QUIET, node: false })

  // Killed at any moment of a call.
  for (let delayMs = 0; delayMs < 100; delayMs += 20) {
    const [call] = await Promise.all([calls.push(next()), sleep(delayMs).then(() => signal(pid, 'SIGKILL'))])
    expect(call).toMatchObject({ code: 0, stdout: '' })
    pid = await calls.warm(next)
  }

  // Stopped: a call does not wait for it for long.
  signal(pid, 'SIGSTOP')
  expect(await calls.push(next())).toMatchObject({ ...QUIET, node: true })
  signal(pid, 'SIGCONT')
  await calls.warm(next)

  // A stopped stanza, and a segment that the archive has with other content: the errors are those of a call of Node.
  await site.pgtsOk('stop')
  expect(await calls.push(next())).toMatchObject({ code: 62, node: true })
  await site.pgtsOk('start')
  const name = next()
  expect(await calls.push(name)).toMatchObject(QUIET)
  const other = '0'.repeat(40)
  const directory = join(site.dir, 'repo', 'archive', 'main', `${site.cluster.version}-1`, name.slice(0, 16))
  for (const found of readdirSync(directory).filter((found) => found.startsWith(name)))
    renameSync(join(directory, found), join(directory, found.replace(/-[0-9a-f]{40}/, `-${other}`)))
  await calls.warm(next)
  const refused = await calls.push(name)
  const words = ['--no-archive-resident']
  expect(refused).toMatchObject({ code: 45, node: true, stderr: (await calls.push(name, { words })).stderr })

  // A repository that is added receives the next segment.
  pid = await calls.warm(next)
  mkdirSync(join(site.dir, 'repo2'))
  giveToTestUser(join(site.dir, 'repo2'))
  const config = readFileSync(site.config, 'utf8')
  writeFileSync(site.config, config.replace('[global]', `[global]\nrepo2-path=${join(site.dir, 'repo2')}`))
  await site.pgtsOk('--no-online', 'stanza-create')
  expect(await calls.push(next(), { repos: ['repo', 'repo2'] })).toMatchObject({ ...QUIET, node: true })
  await calls.untilEnded(pid)
  pid = await calls.warm(next)
  expect(calls.stored(next())).toEqual([])

  // A server stops while the process lives but is stopped itself, so it does not wait for it. The process then ends by itself.
  signal(pid, 'SIGSTOP')
  await site.cluster.stop('fast')
  signal(pid, 'SIGCONT')
  await calls.untilEnded(pid)
  // It leaves its directory: a restore may be emptying the spool now, and pgbackrest fails if a file is gone that it has just listed.
  const own = join(site.dir, 'spool', 'archive', 'main', 'pgts')
  const [left = '', ...others] = readdirSync(own)
  expect(others).toEqual([])
  expect(readdirSync(join(own, left))).toEqual(expect.arrayContaining(['lock', 'pid']))
  await site.cluster.start()
  expect(await calls.push(next())).toMatchObject({ ...QUIET, node: true })
  pid = await calls.warm(next)
  signal(pid, 'SIGTERM')
  await calls.untilEnded(pid)
  expect(readdirSync(own)).toEqual([])
})

test('archiving goes on when the spool cannot be written', async () => {
  const { site, calls, more, next } = await waitingSite()
  await using _site = site
  await more(2)
  chmodSync(join(site.dir, 'spool'), 0o500)
  for (let call = 0; call < 2; call++) expect(await calls.push(next())).toMatchObject({ ...QUIET, node: true })
  expect(calls.residents()).toEqual([])
  chmodSync(join(site.dir, 'spool'), 0o700)
})

test('a resident process ends when pgts is upgraded', async () => {
  const installation = new Installation()
  const { site, calls, more, next } = await waitingSite({}, join(installation.dir, 'bin', 'pgts'))
  await using _site = site
  await more(20)
  const pid = await calls.warm(next)
  const dist = join(installation.dir, 'dist')
  cpSync(dist, `${dist}.new`, { recursive: true })
  renameSync(dist, `${dist}.old`)
  renameSync(`${dist}.new`, dist)
  giveToTestUser(installation.dir)
  await calls.untilEnded(pid)
  expect(calls.log()).toMatch(/ended because .*main\.cjs has changed/)
  await calls.warm(next)
})

test('two stanzas of one configuration are served by two processes at the same time', async () => {
  const { site, calls, more, next } = await waitingSite()
  await using _site = site
  await using cluster = await startCluster({
    ...WAITING,
    conf: { ...WAITING.conf, archive_mode: 'on' },
  })
  const section = Object.entries(cluster.pgOptions()).map(([name, value]) => `${name}=${value}\n`)
  writeFileSync(site.config, `${readFileSync(site.config, 'utf8')}\n[other]\n${section.join('')}`)
  const other = { calls: new ResidentCalls(site, { cluster, stanza: 'other' }), ...waitingSegments(cluster) }
  expect(await pgts([`--config=${site.config}`, '--stanza=other', '--no-online', 'stanza-create'])).toMatchObject({
    code: 0,
  })
  const both = [{ calls, more, next }, other]
  for (const one of both) {
    await one.more(16)
    await one.calls.warm(one.next)
  }
  for (let round = 0; round < 3; round++)
    await Promise.all(both.map(async (one) => expect(await one.calls.push(one.next())).toMatchObject(QUIET)))
  // A call that was not answered in time starts one more process, which ends.
  const pids = () => both.flatMap((one) => one.calls.residents())
  await expect.poll(() => new Set(pids()).size, { timeout: 60_000 }).toBe(2)
})

test('two servers with one stanza and one spool do not mix their segments', async () => {
  const first = await waitingSite()
  await using _first = first.site
  const second = await waitingSite({ 'spool-path': join(first.site.dir, 'spool') })
  await using _second = second.site
  for (const { more, calls, next } of [first, second]) {
    await more(16)
    await calls.warm(next)
  }
  for (let round = 0; round < 3; round++)
    for (const { calls, next } of [first, second]) expect(await calls.push(next())).toMatchObject(QUIET)
  for (const { calls } of [first, second])
    await expect.poll(() => calls.residents(), { timeout: 60_000 }).toHaveLength(1)
})

test(
  'a restored server replays through a resident process up to the end of the archive',
  { timeout: 120_000 },
  async () => {
    await using site = await aSite({ walSegsizeMb: 1 })
    await site.pgtsOk('stanza-create')
    await site.pgtsOk('backup')
    const { cluster } = site
    await cluster.query('create table t as select i, md5(i::text) from generate_series(1, 60000) i')
    await cluster.query('select pg_switch_wal()')
    await until('the archiver', () => readyOf(cluster).length === 0)
    const expected = await dataChecksum(cluster)
    await cluster.stop()

    const replica = aReplica(site, { options: { 'archive-async': 'n' } })
    const record = join(replica.dir, 'starts')
    const node = join(replica.dir, 'node')
    writeFileSync(node, `#!/bin/sh\necho "$*" >>'${record}'\nexec '${reachableNode()}' "$@"\n`)
    chmodSync(node, 0o755)
    giveToTestUser(replica.dir)
    const restoreCommand = `PGTS_NODE=${node} '${pgtsProgram()}' --config=${replica.config} --stanza=main archive-get %f "%p"`
    await using copy = await restored(site, { ...replica, restoreCommand })
    await copy.untilPrimary()
    expect(await dataChecksum(copy)).toEqual(expected)
    const starts = readFileSync(record, 'utf8')
      .split('\n')
      .filter((line) => line.includes(' archive-get '))
    const restoredFiles = [...copy.log().matchAll(/restored log file/g)].length
    expect(restoredFiles).toBeGreaterThan(5)
    expect(starts.length).toBeLessThan(restoredFiles)
  },
)
