/**
 * Compares pgts with pgbackrest: the same work, alternating, in one run. The result are paired ratios, because machines
 * are shared and noisy.
 *
 *   npm run bench -- [--size=1024] [--runs=3] [--codec=zst] [--level=3] [--process-max=2] [--segments=20]
 *                    [--archive-segments=100] [--wal-mb=16] [--only=restore] [--out=FILE]
 *                    [--objects=10000] [--info-segments=1000000] [--repo=s3 [--latency=20] [--tables=5000]]
 *
 * `--objects` is the number of files that an expire removes, `--info-segments` the number of segments in the archive that info
 * reads. `--repo=s3` puts the repositories on a real S3 server behind a network with that round trip; `--tables` is the
 * number of small tables in a second cluster.
 *
 * Sizes are MiB of table data. `PGTS_TEST_PGBACKREST` names another pgbackrest than the installed one; block incremental
 * is measured with 2.46 and later.
 */
import { mkdirSync, readdirSync, writeFileSync } from 'node:fs'
import { cpus } from 'node:os'
import { dirname, join } from 'node:path'
import { isInstalled, pgtsProgram, runOk, startCluster } from '../test/support/postgres/postgres.ts'
import { archiveRows, benchArchive } from './bench/archive-rows.ts'
import { jobsFor } from './bench/jobs.ts'
import { benchObjectStore } from './bench/object-store.ts'
import { pageChecksumSpeeds } from './bench/pages.ts'
import { load, makeProgram, type Program, storedBytes, type Variant } from './bench/programs.ts'
import { printRow, type Row, runJob } from './bench/rows.ts'
import { parseSettings, PGBACKREST } from './bench/settings.ts'
import { runDirectory } from './bench/run-directory.ts'

const settings = parseSettings(process.argv.slice(2))

async function bench(): Promise<void> {
  if (!PGBACKREST.includes('/') && !isInstalled(PGBACKREST))
    throw new Error(`the benchmark needs ${PGBACKREST}: apt-get install pgbackrest`)
  const root = runDirectory()
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
  for (const job of jobsFor(cluster, wal, blocks, settings).filter(({ name }) => name.includes(settings.only))) {
    const row = await runJob(job, await programsOf(job.variant), {
      runs,
      storedBytes: (tested) => storedBytes(PGBACKREST, tested),
    })
    rows.push(row)
    printRow(row)
  }
  const archive = await archiveRows(root, settings)
  mkdirSync(dirname(settings.out), { recursive: true })
  const result = {
    date: new Date().toISOString(),
    settings,
    pgbackrest: version,
    pageChecksumsGBs: pages,
    rows,
    archive,
  }
  writeFileSync(settings.out, JSON.stringify(result, null, 2))
  console.log(`\nwritten to ${settings.out}`)
}

try {
  if (settings.repo === 's3') await benchObjectStore(settings)
  else if (settings.only.startsWith('async')) await benchArchive(settings)
  else await bench()
} catch (error) {
  console.error(`the benchmark failed: ${error instanceof Error ? error.message : String(error)}`)
  process.exitCode = 1
}
