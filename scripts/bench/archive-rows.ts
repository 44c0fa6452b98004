import { runOk } from '../../test/support/postgres/postgres.ts'
import { ArchiveBench, type ArchiveJob } from './archive.ts'
import type { Measurement } from './measure.ts'
import type { Program } from './programs.ts'
import { conditions, report } from './report.ts'
import { PGBACKREST, type Settings } from './settings.ts'
import { runDirectory } from './run-directory.ts'

interface ArchiveRow {
  readonly job: string
  readonly amount: number
  readonly unit: ArchiveJob['unit']
  readonly pgts: Measurement
  readonly pgbackrest: Measurement
  /** Median of the paired quotients of wall time. */
  readonly ratio: number
}

const median = (values: readonly number[]) => [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)]!

/** Only archiving in the background: `npm run bench -- --only=async`, or a longer part of a job's name. */
export async function benchArchive(settings: Settings): Promise<void> {
  const pgbackrest = (await runOk(PGBACKREST, ['version'])).stdout.trim()
  const { archiveSegments, walMiB } = settings
  console.log(`${archiveSegments} segments of ${walMiB} MiB, ${conditions(settings)}, ${pgbackrest}`)
  console.log('median seconds, CPU seconds of calls, highest memory of background processes; ratio as above\n')
  const archive = await archiveRows(runDirectory(), settings)
  report([], settings, { pgbackrest, archive })
}

export async function archiveRows(root: string, settings: Settings): Promise<ArchiveRow[]> {
  if (!ArchiveBench.isAskedFor(settings)) return []
  await using bench = await ArchiveBench.start(root, settings)
  const rows: ArchiveRow[] = []
  for (const job of bench.jobs()) {
    const row = await runArchiveJob(job, bench.programs, settings.runs)
    rows.push(row)
    print(row)
  }
  return rows
}

async function runArchiveJob(job: ArchiveJob, programs: readonly [Program, Program], times: number) {
  const runs = { pgts: [] as Measurement[], pgbackrest: [] as Measurement[] }
  for (let run = 0; run < times; run++)
    for (const tested of run % 2 === 0 ? programs : [...programs].reverse())
      runs[tested.name].push(await job.run(tested))
  const middle = (list: readonly Measurement[]): Measurement => ({
    seconds: median(list.map((m) => m.seconds)),
    cpuSeconds: median(list.map((m) => m.cpuSeconds)),
    peakMiB: Math.max(...list.map((m) => m.peakMiB)),
  })
  const { name, amount, unit } = job
  return {
    ...{ job: name, amount, unit },
    pgts: middle(runs.pgts),
    pgbackrest: middle(runs.pgbackrest),
    ratio: median(runs.pgts.map((m, index) => m.seconds / runs.pgbackrest[index]!.seconds)),
  }
}

function print(row: ArchiveRow): void {
  // Values that a job does not measure are blank.
  const cell = (value: number, digits: number, width: number, unit: string) =>
    value > 0 ? `${value.toFixed(digits).padStart(width)} ${unit}` : ' '.repeat(width + 1 + unit.length)
  const cells = ({ seconds, cpuSeconds, peakMiB }: Measurement) => {
    const each =
      row.unit === 'call'
        ? cell((seconds / row.amount) * 1000, 2, 8, 'ms a call')
        : cell(row.amount / seconds, 1, 8, 'MiB/s')
    return `${cell(seconds, 3, 8, 's')} ${cell(cpuSeconds, 2, 7, 's cpu')} ${cell(peakMiB, 0, 5, 'MiB')} ${each}`
  }
  console.log(row.job)
  console.log(`    pgts       ${cells(row.pgts)}`)
  console.log(`    pgbackrest ${cells(row.pgbackrest)}    ratio ${row.ratio.toFixed(2)}`)
}
