import { chmodSync, chownSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { shellWord } from '../core/init/restart.ts'
import { PgtsError } from '../util/error.ts'
import type { CommandContext } from './context.ts'
import { DemoServer, PORT } from './demo/server.ts'
import { codeOf, runAsOwner, type Owner } from './init/owner.ts'
import { demoUser, serverPrograms } from './shared/server-programs.ts'

type Say = (...lines: readonly string[]) => void

/** The directory and the user of one demo. */
interface Stage {
  readonly ctx: CommandContext<'demo'>
  readonly directory: string
  readonly owner: Owner
  readonly say: Say
}

const STANZA = 'demo'

/**
 * The main task on a server of its own: archive, back up, drop a table, restore to the moment before, compare. Explains each
 * step, and removes everything at the end.
 */
export async function demo(ctx: CommandContext<'demo'>, say: Say): Promise<void> {
  const owner = demoUser()
  const programs = serverPrograms(ctx.options.binaries, ctx.env['PATH'])
  const startMs = ctx.clock.nowMs()
  const directory = mkdtempSync(`${tmpdir()}/pgts-demo-`)
  try {
    giveDirectories(directory, owner)
    await walk({ ctx, directory, owner, say }, programs)
  } finally {
    rmSync(directory, { recursive: true, force: true, maxRetries: 5 })
  }
  say('', `Done in ${Math.round((ctx.clock.nowMs() - startMs) / 1000)} s. Nothing was left behind.`)
}

async function walk(stage: Stage, programs: string): Promise<void> {
  const { ctx, directory, owner } = stage
  const { env, signal } = ctx
  const steps = new Steps(stage.say)
  const archive = `${shellWord(ctx.program)} --config=${directory}/pgts.yaml --stanza=${STANZA} archive-push %p`
  steps.say('Start a PostgreSQL server', 'In a temporary directory, with data checksums and WAL archiving on.')
  await using server = await DemoServer.create(
    { programs, directory, owner, env, signal },
    { archive_mode: 'on', archive_command: archive },
  )
  writeConfig(stage, server.dataDirectory)
  await server.start()
  const [version] = await server.query<{ server_version: string }>('show server_version')
  steps.show(`PostgreSQL ${version?.server_version ?? ''} of ${programs} is running`)

  steps.say('Load some data', 'A table of orders.')
  await server.query('create table orders (id serial primary key, customer text, amount int)')
  await server.query(
    "insert into orders (customer, amount) select 'customer ' || i % 500, i % 97 from generate_series(1, 200000) i",
  )
  steps.show((await ordersOf(server)).text)

  steps.say('Prepare the repository', 'stanza-create writes archive.info and backup.info, the identity of the cluster.')
  await pgts(stage, 'stanza-create')
  steps.say(
    'Check that WAL arrives',
    'The server switches to a new segment; check waits until it is in the repository.',
  )
  await pgts(stage, 'check')
  steps.say('Take a full backup', 'While the server runs. The backup waits for the WAL that makes it consistent.')
  await pgts(stage, '--log-level-console=info', '--no-log-timestamp', 'backup')

  steps.say('Go on working', 'These rows come after the backup: they exist in the WAL archive only.')
  await server.query("insert into orders (customer, amount) select 'late customer', 1 from generate_series(1, 1000)")
  const expected = await ordersOf(server)
  steps.show(expected.text)
  const target = await momentBetween(ctx, server)

  steps.say('Make the mistake', `It is ${target}. One second later:`)
  await server.query('drop table orders')
  await server.query('select pg_switch_wal()')
  steps.show('drop table orders')
  steps.say('List what can be restored')
  await pgts(stage, 'info')
  steps.say(
    'Stop the server, restore to the moment before',
    '--delta keeps the files that are equal; recovery replays WAL up to the target.',
  )
  await server.stop()
  const restore = ['--delta', '--type=time', `--target=${target}`, '--target-action=promote', 'restore']
  await pgts(stage, '--log-level-console=info', '--no-log-timestamp', ...restore)
  steps.say(
    'Start the restored server',
    'PostgreSQL fetches WAL with restore_command = pgts archive-get, and is promoted at the target.',
  )
  await server.start()
  await server.untilPrimary()
  steps.say('Compare', 'The rows are back, also the late ones, and their checksum is what it was.')
  const actual = await ordersOf(server)
  steps.show(actual.text)
  if (actual.text !== expected.text || actual.checksum !== expected.checksum)
    throw new PgtsError('assert', `the restored data differs: expected ${expected.text}, found ${actual.text}`)
  await server.stop()
}

/** Numbered titles and indented lines. */
class Steps {
  readonly #say: Say
  #number = 0
  constructor(say: Say) {
    this.#say = say
  }
  say(title: string, ...lines: readonly string[]): void {
    this.#say('', `${++this.#number}. ${title}`)
    this.show(...lines)
  }
  show(...lines: readonly string[]): void {
    this.#say(...lines.map((line) => `   ${line}`))
  }
}

/** A time that separates the commits before and after it. */
async function momentBetween({ clock, signal }: CommandContext<'demo'>, server: DemoServer): Promise<string> {
  await clock.sleep(1100, signal)
  const [row] = await server.query<{ now: string }>('select now()::text as now')
  await clock.sleep(1100, signal)
  return row?.now ?? ''
}

async function ordersOf(server: DemoServer): Promise<{ readonly text: string; readonly checksum: string }> {
  const [row] = await server.query<{ rows: string; total: string; checksum: string }>(
    "select count(*) as rows, sum(amount) as total, md5(string_agg(o::text, ',' order by id)) as checksum from orders o",
  )
  return { text: `${row?.rows ?? ''} orders, ${row?.total ?? ''} in total`, checksum: row?.checksum ?? '' }
}

/** Runs pgts as the operator would, and shows command and output. */
async function pgts({ ctx, directory, owner, say }: Stage, ...words: readonly string[]): Promise<void> {
  say(`   $ pgts --stanza=${STANZA} ${words.map(shellWord).join(' ')}`)
  const line = [ctx.program, `--config=${directory}/pgts.yaml`, `--stanza=${STANZA}`, ...words]
  const { code, stdout } = await runAsOwner(owner, line, { env: ctx.env, signal: ctx.signal, output: 'captured' })
  if (stdout.trim() !== '')
    say(
      ...stdout
        .trimEnd()
        .split('\n')
        .map((text) => `   | ${text}`),
    )
  if (code !== 0) throw new PgtsError(codeOf(code), `pgts ${words.join(' ')} ended with code ${code}`)
}

function giveDirectories(directory: string, owner: Owner): void {
  for (const name of ['', '/data', '/repository', '/log', '/lock']) {
    if (name !== '') mkdirSync(`${directory}${name}`, { mode: 0o700 })
    chmodSync(`${directory}${name}`, 0o700)
    if (process.geteuid?.() === 0) chownSync(`${directory}${name}`, owner.uid, owner.gid)
  }
}

function writeConfig({ directory, owner }: Stage, dataDirectory: string): void {
  const path = `${directory}/pgts.yaml`
  const lines = [
    'global:',
    `  repo: [{ path: ${directory}/repository, retention-full: 2 }]`,
    `  log-path: ${directory}/log`,
    `  lock-path: ${directory}/lock`,
    '  backup: { start-fast: true }',
    'stanza:',
    `  ${STANZA}:`,
    `    pg: [{ path: ${dataDirectory}, socket-path: ${directory}, port: ${PORT}, user: postgres }]`,
  ]
  writeFileSync(path, `${lines.join('\n')}\n`, { mode: 0o640 })
  if (process.geteuid?.() === 0) chownSync(path, owner.uid, owner.gid)
}
