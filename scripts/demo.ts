/**
 * The main task, end to end, on its own PostgreSQL server: archive, back up, destroy, restore to the moment before,
 * compare. Prints each step and removes everything at the end.
 */
import { chmodSync, mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import {
  type Cluster,
  dataChecksum,
  giveToTestUser,
  makeTestDir,
  pgts,
  pgtsProgram,
  startCluster,
} from '../test/support/postgres/postgres.ts'

const STANZA = 'demo'
const started = Date.now()
let step = 0

function say(title: string, ...lines: string[]): void {
  console.log(`\n${++step}. ${title}`)
  for (const line of lines) console.log(`   ${line}`)
}

async function run(config: string, ...args: string[]): Promise<string> {
  console.log(`   $ pgts --stanza=${STANZA} ${args.map((arg) => (/\s/.test(arg) ? `'${arg}'` : arg)).join(' ')}`)
  const result = await pgts([`--config=${config}`, `--stanza=${STANZA}`, ...args], { deadlineMs: 60_000 })
  if (result.code !== 0)
    throw new Error(`pgts ${args.join(' ')} ended with ${result.code}\n${result.stdout}${result.stderr}`)
  return result.stdout
}

function indent(text: string): void {
  for (const line of text.trimEnd().split('\n')) console.log(`   | ${line}`)
}

async function rowCount(cluster: Cluster): Promise<string> {
  const [row] = await cluster.query('select count(*) as rows, sum(amount) as total from orders')
  return `${String(row?.['rows'])} orders, ${String(row?.['total'])} in total`
}

async function demo(): Promise<void> {
  const dir = makeTestDir('demo')
  const config = join(dir, 'pgts.yaml')
  const settings = {
    archive_mode: 'on',
    archive_command: `'${pgtsProgram()}' --config=${config} --stanza=${STANZA} archive-push %p`,
  }

  say(
    'Start a PostgreSQL server',
    'An embedded one, in a temporary directory, with data checksums and WAL archiving on.',
  )
  await using cluster = await startCluster({ version: 17, conf: settings })
  for (const name of ['repository', 'log', 'lock']) mkdirSync(join(dir, name))
  writeFileSync(
    config,
    [
      'global:',
      `  repo: [{ path: ${dir}/repository, retention-full: 2 }]`,
      `  log-path: ${dir}/log`,
      `  lock-path: ${dir}/lock`,
      '  backup: { start-fast: true }',
      'stanza:',
      `  ${STANZA}:`,
      `    pg: [{ path: ${cluster.dataDir}, socket-path: ${cluster.socketDir}, port: ${cluster.port}, user: ${cluster.user} }]`,
      '',
    ].join('\n'),
  )
  chmodSync(config, 0o640)
  giveToTestUser(dir)
  console.log(`   PostgreSQL ${String((await cluster.query('show server_version'))[0]?.['server_version'])} is running`)

  say('Load some data', 'A table of orders.')
  await cluster.query('create table orders (id serial primary key, customer text, amount int)')
  await cluster.query(
    "insert into orders (customer, amount) select 'customer ' || i % 500, i % 97 from generate_series(1, 200000) i",
  )
  console.log(`   ${await rowCount(cluster)}`)

  say('Prepare the repository', 'stanza-create writes archive.info and backup.info: whose backups these are.')
  await run(config, 'stanza-create')

  say(
    'Check the way of the WAL',
    'check makes the server switch to a new segment and waits until it is in the repository.',
  )
  await run(config, 'check')

  say(
    'Take a full backup',
    'While the server runs. Every file is checksummed; the WAL needed to make it consistent is waited for.',
  )
  indent(await run(config, '--log-level-console=info', '--no-log-timestamp', 'backup'))

  say('Go on working', 'These rows come after the backup: they exist in the WAL archive only.')
  await cluster.query("insert into orders (customer, amount) select 'late customer', 1 from generate_series(1, 1000)")
  const expected = await rowCount(cluster)
  const sums = await dataChecksum(cluster)
  console.log(`   ${expected}`)
  await sleep(1100)
  const [moment] = await cluster.query('select now()::text as now')
  const target = String(moment?.['now'])
  await sleep(1100)

  say('Make the mistake', `It is ${target}. One second later:`)
  await cluster.query('drop table orders')
  await cluster.query('select pg_switch_wal()')
  console.log('   drop table orders')

  say('What is there to restore?')
  indent(await run(config, 'info'))

  say(
    'Stop the server, restore to the moment before',
    '--delta keeps the files that still agree with the backup; recovery then replays WAL up to the target.',
  )
  await cluster.stop()
  indent(
    await run(
      config,
      '--log-level-console=info',
      '--no-log-timestamp',
      '--delta',
      '--type=time',
      `--target=${target}`,
      '--target-action=promote',
      'restore',
    ),
  )

  say(
    'Start the restored server',
    'PostgreSQL fetches WAL with restore_command = pgts archive-get, and is promoted at the target.',
  )
  await cluster.start()
  await cluster.untilPrimary()

  say('Prove it', 'The rows are back, also the late ones; checksums of all rows of all tables are what they were.')
  const actual = await rowCount(cluster)
  console.log(`   ${actual}`)
  const restored = await dataChecksum(cluster)
  if (actual !== expected || JSON.stringify(restored) !== JSON.stringify(sums)) {
    throw new Error(`the restored data differs: expected ${expected}, found ${actual}`)
  }
  await cluster.stop()
  rmSync(dir, { recursive: true, force: true })
  console.log(`\nDone in ${Math.round((Date.now() - started) / 1000)} s. Nothing was left behind.`)
}

try {
  await demo()
} catch (error) {
  console.error(`\nThe demo failed: ${error instanceof Error ? error.message : String(error)}`)
  process.exitCode = 1
}
