import { mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { SteppedHost } from '../../support/hosts/stepped-host.ts'
import { type Cluster, startCluster } from '../../support/postgres/postgres.ts'
import {
  describeRun,
  giveToTestUser,
  makeTestDir,
  pgtsProgram,
  runAs,
  testUser,
} from '../../support/processes/test-user.ts'

let dir: string
let cluster: Cluster
let host: SteppedHost
beforeAll(async () => {
  dir = makeTestDir('round-trips')
  for (const name of ['repo', 'here', 'there']) mkdirSync(join(dir, name))
  host = await SteppedHost.start(dir)
  // Fails on purpose: the test pushes segments.
  cluster = await startCluster({ version: 15, conf: { archive_mode: 'on', archive_command: 'false' } })
  const settings = (name: string) => [
    '[global]',
    `lock-path=${dir}/${name}`,
    `spool-path=${dir}/${name}`,
    `log-path=${dir}/${name}`,
    'log-level-file=off',
    // So no process stays for the next segments, which would open a connection of its own.
    'log-level-console=info',
  ]
  const main = ['[main]', ...Object.entries(cluster.pgOptions()).map(([option, value]) => `${option}=${value}`)]
  const hostOf = (prefix: string) =>
    ['host=host', 'host-user=user', `host-cmd=${pgtsProgram()}`, `host-config=${dir}/there.conf`].map(
      (line) => `${prefix}-${line}`,
    )
  const write = (name: string, lines: readonly string[]) => writeFileSync(join(dir, name), `${lines.join('\n')}\n`)
  const repository = [`repo1-path=${dir}/repo`, 'repo1-bundle=y']
  const ssh = `cmd-ssh=${host.program}`
  write('there.conf', [...settings('there'), ...repository, ...main])
  write('pull.conf', [
    ...settings('here'),
    ...repository,
    ssh,
    'repo1-retention-full=9',
    'archive-check=n',
    'start-fast=y',
    ...main,
    ...hostOf('pg1'),
  ])
  write('push.conf', [...settings('here'), ssh, ...hostOf('repo1'), ...main])
  giveToTestUser(dir)
  await pgts('there', ['stanza-create'])
}, 60_000)
afterAll(async () => {
  await host?.[Symbol.asyncDispose]()
  await cluster?.[Symbol.asyncDispose]()
})

async function pgts(config: string, args: readonly string[]): Promise<void> {
  const words = [`--config=${dir}/${config}.conf`, '--stanza=main', ...args]
  const result = await runAs(testUser, pgtsProgram(), words, { deadlineMs: 40_000 })
  const seen = [`missing: ${host.left.join(', ')}`, ...host.surprises].join('\n')
  if (result.code !== 0) throw new Error(`${describeRun('pgts', words, result)}\n${seen}`)
}

/** @param roundTrips of the main connection, in order: verbs that are requested at the same time */
async function expectRoundTrips(config: string, args: readonly string[], roundTrips: readonly string[]): Promise<void> {
  host.expect(roundTrips)
  await pgts(config, args)
  expect(host.surprises).toEqual([])
  expect(host.left).toEqual([])
}

const BACKUP = [
  'open',
  'lock',
  'pg-read pg-list db-open pg-copy',
  // The current segment, and the start.
  'db-query',
  'db-query',
  'pg-read db-query db-query',
  'pg-stat pg-list',
  'pg-list*',
  // The time after the list; then, while files are copied, until the next second.
  'db-query',
  'db-query*',
  'pg-host db-query db-query',
  'db-close',
  'unlock',
]

test.each(['full', 'incr'])(
  'round trips of a %s backup of a cluster on another host',
  async (type) => {
    // In an idle server the backup would begin with a change of the segment.
    await cluster.query('create table if not exists t (n int); insert into t values (1)')
    await expectRoundTrips('pull', [`--type=${type}`, 'backup'], BACKUP)
  },
  60_000,
)

test('round trips of a restore from a repository on another host', async () => {
  const target = join(dir, 'restored')
  rmSync(target, { recursive: true, force: true })
  await expectRoundTrips(
    'push',
    [`--pg1-path=${target}`, '--archive-mode=off', '--no-restore-check', 'restore'],
    ['open', 'cipher', 'read', 'read list', 'list', 'read*'],
  )
}, 60_000)

test('round trips of archive-push and archive-get to a repository on another host', async () => {
  await cluster.query('select pg_switch_wal()')
  const wal = join(cluster.dataDir, 'pg_wal')
  const [segment] = readdirSync(wal)
    .filter((name) => /^[0-9A-F]{24}$/.test(name))
    .sort()
  await expectRoundTrips(
    'push',
    ['archive-push', join(wal, segment!)],
    ['open', 'cipher', 'stopped', 'read', 'list', 'create', 'list'],
  )
  await expectRoundTrips(
    'push',
    ['archive-get', segment!, join(dir, 'segment')],
    ['open', 'cipher', 'read', 'list', 'read'],
  )
}, 60_000)
