/**
 * pgts beside pgbackrest on the same work, in turn, in one run: what counts are the paired ratios, because machines
 * are shared and noisy.
 *
 *   npm run bench -- [--size=1024] [--runs=3] [--codec=zst] [--level=3] [--process-max=2] [--segments=20] [--out=FILE]
 *
 * Sizes are MiB of table data. `PGTS_TEST_PGBACKREST` names another pgbackrest than the installed one.
 */
import { mkdirSync, openSync, readdirSync, rmSync, statSync, writeFileSync, writeSync, closeSync } from 'node:fs'
import { cpus } from 'node:os'
import { join } from 'node:path'
import {
  type Cluster,
  giveToTestUser,
  isInstalled,
  makeTestDir,
  pgtsProgram,
  reachableNode,
  runOk,
  startCluster,
} from '../test/support/postgres.ts'
import { measure, type Measurement } from './measure.ts'

const PGBACKREST = process.env['PGTS_TEST_PGBACKREST'] ?? 'pgbackrest'
const settings = parseArguments(process.argv.slice(2))

interface Job {
  readonly name: string
  /** Brings everything back to where the measured command starts from. */
  prepare?(who: Program): void | Promise<void>
  command(who: Program): readonly string[]
}

interface Program {
  readonly name: 'pgts' | 'pgbackrest'
  readonly program: string
  readonly dir: string
  readonly config: string
  readonly target: string
}

function parseArguments(args: readonly string[]) {
  const given = new Map(args.map((arg) => arg.replace(/^--/, '').split('=') as [string, string]))
  const number = (name: string, standard: number) => Number(given.get(name) ?? standard)
  const codec = given.get('codec') ?? 'zst'
  return {
    sizeMiB: number('size', 1024),
    runs: number('runs', 3),
    codec,
    level: number('level', { gz: 6, lz4: 1, zst: 3 }[codec] ?? 0),
    processMax: number('process-max', 2),
    segments: number('segments', 20),
    out: given.get('out') ?? 'bench-results/bench.json',
  }
}

/** Rows that compress about as tables do: some words, some numbers, some noise. */
async function load(cluster: Cluster): Promise<void> {
  await cluster.query('create table big (id bigint, name text, noise text, amount int)')
  const rowsPerMiB = 5200
  for (let done = 0; done < settings.sizeMiB; done += 64) {
    const rows = Math.min(64, settings.sizeMiB - done) * rowsPerMiB
    await cluster.query(
      `insert into big select i, 'customer number ' || i % 1000 || ' of the benchmark', md5(i::text) || md5((i * 7)::text), i % 977
         from generate_series(${done * rowsPerMiB + 1}, ${done * rowsPerMiB + rows}) i`,
    )
  }
  for (let i = 0; i < 300; i++)
    await cluster.query(`create table small_${i} as select g, md5(g::text) from generate_series(1, 20) g`)
  await cluster.query('checkpoint')
}

function configure(name: Program['name'], program: string, root: string, cluster: Cluster): Program {
  const dir = join(root, name)
  const config = join(dir, `${name}.conf`)
  for (const sub of ['repo', 'log', 'lock', 'spool', 'wal']) mkdirSync(join(dir, sub), { recursive: true })
  const options = {
    'repo1-path': join(dir, 'repo'),
    'log-path': join(dir, 'log'),
    'lock-path': join(dir, 'lock'),
    'spool-path': join(dir, 'spool'),
    'process-max': settings.processMax,
    'compress-type': settings.codec,
    ...(settings.codec === 'none' ? {} : { 'compress-level': settings.level }),
    'start-fast': 'y',
    'repo1-retention-full': 99,
    'archive-check': 'n',
  }
  const lines = (values: object) => Object.entries(values).map(([key, value]) => `${key}=${String(value)}`)
  writeFileSync(config, ['[global]', ...lines(options), '[main]', ...lines(cluster.pgOptions()), ''].join('\n'))
  return { name, program, dir, config, target: join(dir, 'restored') }
}

/** Overwrite a page in every tenth file, and add a file that does not belong there. */
function damage(dir: string): void {
  let seen = 0
  const walk = (path: string) => {
    for (const entry of readdirSync(path, { withFileTypes: true })) {
      const child = join(path, entry.name)
      if (entry.isDirectory()) walk(child)
      else if (entry.isFile() && statSync(child).size >= 8192 && ++seen % 10 === 0) {
        const file = openSync(child, 'r+')
        writeSync(file, Buffer.alloc(8192, 0x5a), 0, 8192, 0)
        closeSync(file)
      }
    }
  }
  walk(join(dir, 'base'))
  writeFileSync(join(dir, 'base', 'left-over'), 'x')
}

function jobs(cluster: Cluster, wal: readonly string[]): Job[] {
  const common = (who: Program) => [who.program, `--config=${who.config}`, '--stanza=main']
  const emptyTarget = (who: Program) => {
    rmSync(who.target, { recursive: true, force: true })
    mkdirSync(who.target, { mode: 0o700 })
    giveToTestUser(who.target)
  }
  const eachSegment = (who: Program, command: (segment: string) => string): string[] => {
    const start = common(who)
      .map((word) => `'${word}'`)
      .join(' ')
    return ['sh', '-ec', wal.map((segment) => `${start} ${command(segment)}`).join('\n')]
  }
  return [
    { name: 'version', command: (who) => [who.program, 'version'] },
    {
      name: 'node -e 0 (for pgts version)',
      command: (who) => (who.name === 'pgts' ? [reachableNode(), '-e', '0'] : [who.program, 'version']),
    },
    { name: 'full backup', command: (who) => [...common(who), '--type=full', 'backup'] },
    {
      name: 'restore',
      prepare: emptyTarget,
      command: (who) => [...common(who), `--pg1-path=${who.target}`, 'restore'],
    },
    {
      name: 'delta restore',
      prepare: (who) => damage(who.target),
      command: (who) => [...common(who), `--pg1-path=${who.target}`, '--delta', 'restore'],
    },
    {
      name: `archive-push (${wal.length} segments, one call each)`,
      prepare: (who) =>
        rmSync(join(who.dir, 'repo', 'archive', 'main', `${cluster.version}-1`), { recursive: true, force: true }),
      command: (who) => eachSegment(who, (segment) => `archive-push '${join(cluster.dataDir, 'pg_wal', segment)}'`),
    },
    {
      name: `archive-get (${wal.length} segments, one call each)`,
      command: (who) => eachSegment(who, (segment) => `archive-get ${segment} '${join(who.dir, 'wal', segment)}'`),
    },
  ]
}

const median = (values: readonly number[]) => [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)]!

interface Row {
  readonly job: string
  readonly pgts: Measurement
  readonly pgbackrest: Measurement
  readonly ratio: number
}

async function runJob(job: Job, programs: readonly Program[]): Promise<Row> {
  const runs = new Map<string, Measurement[]>(programs.map(({ name }) => [name, []]))
  for (let run = 0; run < settings.runs; run++) {
    // In turn, and each first every other time, so that neither always finds the caches warm.
    for (const who of run % 2 === 0 ? programs : [...programs].reverse()) {
      await job.prepare?.(who)
      runs.get(who.name)!.push(await measure(job.command(who), who.dir))
    }
  }
  const [ours, theirs] = programs.map(({ name }) => runs.get(name)!) as [Measurement[], Measurement[]]
  const middle = (list: readonly Measurement[]): Measurement => ({
    seconds: median(list.map((m) => m.seconds)),
    cpuSeconds: median(list.map((m) => m.cpuSeconds)),
    peakMiB: Math.max(...list.map((m) => m.peakMiB)),
  })
  return {
    job: job.name,
    pgts: middle(ours),
    pgbackrest: middle(theirs),
    ratio: median(ours.map((m, index) => m.seconds / theirs[index]!.seconds)),
  }
}

function print(row: Row): void {
  const cells = (m: Measurement) =>
    `${m.seconds.toFixed(3).padStart(8)} s ${m.cpuSeconds.toFixed(2).padStart(7)} s cpu ${m.peakMiB.toFixed(0).padStart(5)} MiB`
  console.log(
    `${row.job}\n    pgts       ${cells(row.pgts)}\n    pgbackrest ${cells(row.pgbackrest)}    ratio ${row.ratio.toFixed(2)}`,
  )
}

async function bench(): Promise<void> {
  if (!isInstalled(PGBACKREST)) throw new Error(`the benchmark needs ${PGBACKREST}: apt-get install pgbackrest`)
  const root = makeTestDir('bench')
  const { sizeMiB, runs, codec, level, processMax } = settings
  const versions = (await runOk(PGBACKREST, ['version'])).stdout.trim()
  console.log(
    `${sizeMiB} MiB of rows, ${codec} level ${level}, process-max ${processMax}, ${runs} runs each, ${cpus().length} cores, ${versions}`,
  )
  console.log(
    'median seconds, CPU seconds of all processes, highest memory; ratio = median of pgts / pgbackrest, paired\n',
  )

  await using cluster = await startCluster({
    version: 15,
    conf: {
      archive_mode: 'on',
      archive_command: 'false',
      max_wal_size: '4GB',
      shared_buffers: '256MB',
      min_wal_size: '1GB',
    },
  })
  await load(cluster)
  const programs = [configure('pgts', pgtsProgram(), root, cluster), configure('pgbackrest', PGBACKREST, root, cluster)]
  giveToTestUser(root)
  for (const who of programs) await runOk(who.program, [`--config=${who.config}`, '--stanza=main', 'stanza-create'])
  // archive_command fails on purpose, so the segments stay in pg_wal for both.
  const wal = readdirSync(join(cluster.dataDir, 'pg_wal'))
    .filter((name) => /^[0-9A-F]{24}$/.test(name))
    .sort()
    .slice(0, settings.segments)

  const rows: Row[] = []
  for (const job of jobs(cluster, wal)) {
    const row = await runJob(job, programs)
    rows.push(row)
    print(row)
  }
  mkdirSync('bench-results', { recursive: true })
  writeFileSync(
    settings.out,
    JSON.stringify({ date: new Date().toISOString(), settings, pgbackrest: versions, rows }, null, 2),
  )
  console.log(`\nwritten to ${settings.out}`)
}

try {
  await bench()
} catch (error) {
  console.error(`the benchmark failed: ${error instanceof Error ? error.message : String(error)}`)
  process.exitCode = 1
}
