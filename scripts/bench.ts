/**
 * pgts beside pgbackrest on the same work, in turn, in one run: what counts are the paired ratios, because machines
 * are shared and noisy.
 *
 *   npm run bench -- [--size=1024] [--runs=3] [--codec=zst] [--level=3] [--process-max=2] [--segments=20]
 *                    [--only=restore] [--out=FILE]
 *
 * Sizes are MiB of table data. `PGTS_TEST_PGBACKREST` names another pgbackrest than the installed one; block incremental
 * is measured with 2.46 and later.
 */
import { mkdirSync, readdirSync, writeFileSync } from 'node:fs'
import { cpus } from 'node:os'
import { dirname, join } from 'node:path'
import { isInstalled, makeTestDir, pgtsProgram, runOk, startCluster } from '../test/support/postgres.ts'
import { type Job, jobsFor } from './bench/jobs.ts'
import { measure, type Measurement } from './bench/measure.ts'
import { pageChecksumSpeeds } from './bench/pages.ts'
import { load, makeProgram, type Program, storedBytes, type Variant } from './bench/programs.ts'
import { parseSettings, PGBACKREST } from './bench/settings.ts'

const settings = parseSettings(process.argv.slice(2))

interface Row {
  readonly job: string
  readonly pgts: Measurement
  readonly pgbackrest: Measurement
  /** Median of the paired quotients of wall time. */
  readonly ratio: number
  /** Stored bytes, pgts to pgbackrest. */
  readonly sizeRatio?: number
}

const median = (values: readonly number[]) => [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)]!

async function runJob(job: Job, programs: readonly [Program, Program]): Promise<Row> {
  const runs = new Map<string, Measurement[]>(programs.map(({ name }) => [name, []]))
  for (let run = 0; run < settings.runs; run++) {
    await job.prepareRun?.(run)
    // In turn, and each first every other time, so that neither always finds the caches warm.
    for (const who of run % 2 === 0 ? programs : [...programs].reverse()) {
      job.prepare?.(who)
      runs.get(who.name)!.push(await measure(job.command(who), who.dir))
      job.after?.(who)
    }
  }
  const [ours, theirs] = programs.map(({ name }) => runs.get(name)!) as [Measurement[], Measurement[]]
  const middle = (list: readonly Measurement[]): Measurement => ({
    seconds: median(list.map((m) => m.seconds)),
    cpuSeconds: median(list.map((m) => m.cpuSeconds)),
    peakMiB: Math.max(...list.map((m) => m.peakMiB)),
  })
  const stored = job.sizes ? await Promise.all(programs.map((who) => storedBytes(PGBACKREST, who))) : undefined
  return {
    job: job.name,
    pgts: middle(ours),
    pgbackrest: middle(theirs),
    ratio: median(ours.map((m, index) => m.seconds / theirs[index]!.seconds)),
    ...(stored === undefined ? {} : { sizeRatio: stored[0]! / stored[1]! }),
  }
}

function print(row: Row): void {
  const cells = (m: Measurement) =>
    `${m.seconds.toFixed(3).padStart(8)} s ${m.cpuSeconds.toFixed(2).padStart(7)} s cpu ${m.peakMiB.toFixed(0).padStart(5)} MiB`
  const size = row.sizeRatio === undefined ? '' : `, stored ${row.sizeRatio.toFixed(3)}`
  console.log(row.job)
  console.log(`    pgts       ${cells(row.pgts)}`)
  console.log(`    pgbackrest ${cells(row.pgbackrest)}    ratio ${row.ratio.toFixed(2)}${size}`)
}

async function bench(): Promise<void> {
  if (!PGBACKREST.includes('/') && !isInstalled(PGBACKREST))
    throw new Error(`the benchmark needs ${PGBACKREST}: apt-get install pgbackrest`)
  const root = makeTestDir('bench')
  const { sizeMiB, runs, codec, level, processMax } = settings
  const version = (await runOk(PGBACKREST, ['version'])).stdout.trim()
  const blocks = Number(/(\d+\.\d+)/.exec(version)?.[1]) >= 2.46
  console.log(
    `${sizeMiB} MiB of rows, ${codec} level ${level}, process-max ${processMax}, ${runs} runs each, ${cpus().length} cores, ${version}`,
  )
  console.log(
    'median seconds, CPU seconds of all processes, highest memory; ratio = median of pgts / pgbackrest, paired\n',
  )
  const pages = pageChecksumSpeeds()
  console.log(
    `page checksums, one core: ${pages.wasm.toFixed(1)} GB/s, in plain JavaScript ${pages.javascript.toFixed(1)} GB/s`,
  )

  await using cluster = await startCluster({
    version: 15,
    conf: {
      archive_mode: 'on',
      // Fails on purpose, so that the segments stay in pg_wal for both.
      archive_command: 'false',
      max_wal_size: '4GB',
      min_wal_size: '1GB',
      shared_buffers: '256MB',
    },
  })
  await load(cluster, sizeMiB)
  // Only finished ones: archive-push refuses the segment that the server still writes to.
  const current = String((await cluster.query('select pg_walfile_name(pg_current_wal_lsn()) as name'))[0]?.['name'])
  const wal = readdirSync(join(cluster.dataDir, 'pg_wal'))
    .filter((name) => /^[0-9A-F]{24}$/.test(name) && name < current)
    .sort()
    .slice(0, settings.segments)

  const made = new Map<Variant, readonly [Program, Program]>()
  const programsOf = async (variant: Variant) => {
    const known = made.get(variant)
    if (known !== undefined) return known
    const make = (name: Program['name'], program: string) =>
      makeProgram(name, program, variant, root, cluster, settings)
    const programs = [await make('pgts', pgtsProgram()), await make('pgbackrest', PGBACKREST)] as const
    made.set(variant, programs)
    return programs
  }
  const rows: Row[] = []
  for (const job of jobsFor(cluster, wal, blocks).filter(({ name }) => name.includes(settings.only))) {
    const row = await runJob(job, await programsOf(job.variant))
    rows.push(row)
    print(row)
  }
  mkdirSync(dirname(settings.out), { recursive: true })
  const result = { date: new Date().toISOString(), settings, pgbackrest: version, pageChecksumsGBs: pages, rows }
  writeFileSync(settings.out, JSON.stringify(result, null, 2))
  console.log(`\nwritten to ${settings.out}`)
}

try {
  await bench()
} catch (error) {
  console.error(`the benchmark failed: ${error instanceof Error ? error.message : String(error)}`)
  process.exitCode = 1
}
