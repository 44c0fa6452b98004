import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { pgtsProgram, runOk, startCluster } from '../../test/support/postgres/postgres.ts'
import { archiveRows } from './archive-rows.ts'
import { jobsFor } from './jobs.ts'
import { pageChecksumSpeeds } from './pages.ts'
import { load, makeProgram, type Program, storedBytes, type Variant } from './programs.ts'
import { conditions, report } from './report.ts'
import { printRow, type Row, runJob } from './rows.ts'
import { runDirectory } from './run-directory.ts'
import { isAskedFor, knowsBlocks, PGBACKREST, type Settings } from './settings.ts'

/** MiB of rows whose WAL stays in pg_wal, for the rows about archiving and verify. The WAL of earlier rows is recycled. */
const KEPT_MIB = 512

/** Repositories on a local disk, and a running cluster with few large tables. */
export async function benchDisk(settings: Settings): Promise<void> {
  const root = runDirectory()
  const version = (await runOk(PGBACKREST, ['version'])).stdout.trim()
  console.log(`${settings.sizeMiB} MiB of rows, ${conditions(settings)}, ${version}`)
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
      archive_command: 'true',
      max_wal_size: '4GB',
      min_wal_size: '1GB',
      shared_buffers: '256MB',
    },
  })
  const early = Math.max(0, settings.sizeMiB - KEPT_MIB)
  if (early > 0) await load(cluster, early)
  // Fails on purpose, so that the segments stay in pg_wal for both.
  await cluster.query(`alter system set archive_command = 'false'`)
  await cluster.query('select pg_reload_conf()')
  await load(cluster, settings.sizeMiB, early)
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
  for (const job of jobsFor(cluster, wal, knowsBlocks(version), settings)) {
    if (!isAskedFor(job.name, settings)) continue
    const row = await runJob(job, await programsOf(job.variant), {
      runs: settings.runs,
      storedBytes: (tested) => storedBytes(PGBACKREST, tested),
    })
    rows.push(row)
    printRow(row)
  }
  const archive = await archiveRows(root, settings)
  report(rows, settings, { pgbackrest: version, pageChecksumsGBs: pages, archive })
}
