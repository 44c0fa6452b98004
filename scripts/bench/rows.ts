import { type Job } from './jobs.ts'
import { measure, type Measurement } from './measure.ts'
import type { Program } from './programs.ts'

/** Result of one job, compared with the other program. */
export interface Row {
  readonly job: string
  readonly pgts: Measurement
  readonly pgbackrest: Measurement
  /** Median of the paired quotients of wall time. */
  readonly ratio: number
  /** Median of the paired quotients of CPU time. */
  readonly cpuRatio: number
  /** Stored bytes, pgts to pgbackrest. */
  readonly sizeRatio?: number
}

const median = (values: readonly number[]) => [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)]!

export interface RowOptions {
  readonly runs: number
  readonly signal?: AbortSignal
  /** Stored bytes of the newest backup. */
  storedBytes(tested: Program): Promise<number>
  /** For commands on another host. */
  measure?: typeof measure
  /** Requests to the store since the last call; for repositories in an object store. */
  requests?(): number
}

export async function runJob(job: Job, programs: readonly [Program, Program], options: RowOptions): Promise<Row> {
  const runs = new Map<string, Measurement[]>(programs.map(({ name }) => [name, []]))
  for (let run = 0; run < options.runs; run++) {
    await job.prepareRun?.(run)
    // Alternating, and with alternating order, so that warm caches do not favour one program.
    for (const tested of run % 2 === 0 ? programs : [...programs].reverse()) {
      await job.prepare?.(tested)
      options.requests?.()
      const measured = await (options.measure ?? measure)(job.command(tested), tested.dir, { signal: options.signal })
      const requests = options.requests?.()
      runs.get(tested.name)!.push(requests === undefined ? measured : { ...measured, requests })
      job.after?.(tested)
    }
  }
  const [ours, theirs] = programs.map(({ name }) => runs.get(name)!) as [Measurement[], Measurement[]]
  const middle = (list: readonly Measurement[]): Measurement => ({
    seconds: median(list.map((m) => m.seconds)),
    cpuSeconds: median(list.map((m) => m.cpuSeconds)),
    peakMiB: Math.max(...list.map((m) => m.peakMiB)),
    requests: options.requests === undefined ? undefined : median(list.map((m) => m.requests ?? 0)),
  })
  const stored = job.sizes ? await Promise.all(programs.map((tested) => options.storedBytes(tested))) : undefined
  return {
    job: job.name,
    pgts: middle(ours),
    pgbackrest: middle(theirs),
    ratio: median(ours.map((m, index) => m.seconds / theirs[index]!.seconds)),
    cpuRatio: median(ours.map((m, index) => m.cpuSeconds / theirs[index]!.cpuSeconds)),
    sizeRatio: stored === undefined ? undefined : stored[0]! / stored[1]!,
  }
}

export function printRow(row: Row): void {
  const cells = ({ seconds, cpuSeconds, peakMiB, requests }: Measurement) =>
    `${seconds.toFixed(3).padStart(8)} s ${cpuSeconds.toFixed(2).padStart(7)} s cpu ${peakMiB.toFixed(0).padStart(5)} MiB` +
    (requests === undefined ? '' : ` ${String(requests).padStart(6)} requests`)
  const size = row.sizeRatio === undefined ? '' : `, stored ${row.sizeRatio.toFixed(3)}`
  console.log(row.job)
  console.log(`    pgts       ${cells(row.pgts)}`)
  console.log(
    `    pgbackrest ${cells(row.pgbackrest)}    ratio ${row.ratio.toFixed(2)}, CPU ${row.cpuRatio.toFixed(2)}${size}`,
  )
}
