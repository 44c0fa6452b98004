import { readFileSync, utimesSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type Cluster, giveToTestUser, pgtsProgram, runOk, startCluster } from '../../test/support/postgres/postgres.ts'
import type { Job } from './jobs.ts'
import { emptyTarget, makeProgram, type Program, storedBytes, type Variant, restoreWords } from './programs.ts'
import { conditions, report } from './report.ts'
import { printRow, type Row, runJob } from './rows.ts'
import { runDirectory } from './run-directory.ts'
import { isAskedFor, knowsBlocks, PGBACKREST, type Settings } from './settings.ts'

const OFFLINE = ['--no-online']
const PAGE = 8192
/** Pages of the files, in turn: an empty relation, one page, and a file large enough for blocks. */
const PAGES = [0, 1, 3]
/** The number of the first file: higher than the numbers of relations in a new cluster. */
const FIRST = 1_000_000

/** A cluster that was shut down, with many small relation files; backups without a server. */
export async function benchManyFiles(settings: Settings): Promise<void> {
  const root = runDirectory()
  const version = (await runOk(PGBACKREST, ['version'])).stdout.trim()
  console.log(`${settings.files} files of 0, 8 and 24 KiB, ${conditions(settings)}, ${version}`)
  console.log(
    'median seconds, CPU seconds of all processes, highest memory; ratio = median of pgts / pgbackrest, paired\n',
  )
  await using cluster = await startCluster({ version: 15 })
  await cluster.stop()
  const directory = join(cluster.dataDir, 'base/1')
  fill(directory, settings.files)
  await runOk('sync', [])

  const variants: Variant[] = knowsBlocks(version) ? ['plain', 'block'] : ['plain', 'bundle']
  const rows: Row[] = []
  for (const variant of variants) {
    const make = (name: Program['name'], program: string) =>
      makeProgram(name, program, variant, root, cluster, settings, {}, OFFLINE)
    const programs = [await make('pgts', pgtsProgram()), await make('pgbackrest', PGBACKREST)] as const
    for (const job of jobs(cluster, variant, settings)) {
      if (!isAskedFor(job.name, settings)) continue
      const row = await runJob(job, programs, {
        runs: settings.runs,
        storedBytes: (tested) => storedBytes(PGBACKREST, tested),
      })
      rows.push(row)
      printRow(row)
    }
  }
  report(rows, settings, { pgbackrest: version })
}

/** Relation files with pages of a real catalogue. */
function fill(directory: string, files: number): void {
  const pages = readFileSync(join(directory, '1255')).subarray(0, Math.max(...PAGES) * PAGE)
  for (let file = 0; file < files; file++)
    writeFileSync(join(directory, String(FIRST + file)), pages.subarray(0, PAGES[file % PAGES.length]! * PAGE))
  giveToTestUser(directory)
}

const WORDS: Partial<Record<Variant, string>> = { plain: 'a file each', bundle: 'bundled', block: 'block incremental' }

function jobs(cluster: Cluster, variant: Variant, { files }: Settings): Job[] {
  const words = WORDS[variant] ?? variant
  const common = (tested: Program) => [tested.program, `--config=${tested.config}`, '--stanza=main']
  const restore =
    (...args: string[]) =>
    (tested: Program) => [...common(tested), `--pg1-path=${tested.target}`, ...args, ...restoreWords(tested)]
  return [
    {
      name: `full backup of ${files} files, ${words}`,
      variant,
      command: (tested) => [...common(tested), ...OFFLINE, '--type=full', 'backup'],
      sizes: true,
    },
    { name: `restore of ${files} files, ${words}`, variant, prepare: emptyTarget, command: restore() },
    { name: `delta restore of ${files} files, nothing to do, ${words}`, variant, command: restore('--delta') },
    {
      name: `incr of ${files} files, one in a hundred changed, ${words}`,
      variant,
      prepareRun: async (run) => change(join(cluster.dataDir, 'base/1'), files, run),
      command: (tested) => [...common(tested), ...OFFLINE, '--type=incr', 'backup'],
      sizes: true,
    },
  ]
}

/** New contents for one file in a hundred, and a time that differs from that of each earlier run. */
function change(directory: string, files: number, run: number): void {
  const time = Date.now() / 1000 - 3600 + run * 60
  for (let file = 1; file < files; file += 100) {
    const path = join(directory, String(FIRST + file))
    const bytes = readFileSync(path)
    if (bytes.length > 0) bytes.writeUInt32LE(run + 1, bytes.length - 4)
    writeFileSync(path, bytes)
    utimesSync(path, time, time)
  }
}
