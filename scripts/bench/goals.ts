import type { Row } from './rows.ts'
import type { Settings } from './settings.ts'

/** Upper limits for one row; ratios are pgts / pgbackrest. */
export interface Goal {
  readonly wall?: number
  readonly cpu?: number
  /** Wall time of pgts, whatever the other program takes. */
  readonly seconds?: number
  /** Highest memory of pgts. */
  readonly peakMiB?: number
}

type Where = 'hosts' | 'disk' | 'disk, from 10 GiB' | 's3' | 'many files'

/** The first entry whose pattern matches the name of the job applies. */
const GOALS: Readonly<Record<Where, readonly (readonly [RegExp, Goal])[]>> = {
  disk: [
    [/^full backup/, { wall: 0.9 }],
    [/^incr /, { wall: 0.85 }],
    [/^restore/, { wall: 0.85 }],
    [/^delta restore/, { wall: 1 }],
    [/^archive-push/, { wall: 0.9 }],
    [/^archive-get/, { wall: 1 }],
    [/^verify/, { wall: 0.7 }],
    [/^info/, { seconds: 0.15 }],
  ],
  'disk, from 10 GiB': [
    [/^(full backup|incr |restore)/, { wall: 0.85 }],
    [/^delta restore/, { wall: 0.9 }],
  ],
  s3: [
    [/^full backup.*a file each/, { wall: 0.4, cpu: 1.5 }],
    [/^restore.*a file each/, { wall: 0.3, cpu: 1.5 }],
    [/^full backup.*bundled/, { wall: 0.6 }],
    [/^restore.*bundled/, { wall: 0.4 }],
    [/^incr .*bundled/, { wall: 0.6 }],
    [/^restore of the full.*block/, { wall: 0.2 }],
    [/^incr .*block/, { wall: 0.8 }],
    [/^expire/, { wall: 0.8 }],
    [/^archive-(push|get)/, { wall: 1 }],
    [/^info/, { wall: 1.2 }],
  ],
  hosts: [[/^(full backup|incr |restore|archive-push)/, { wall: 0.9, cpu: 1.2 }]],
  'many files': [
    [/^full backup/, { peakMiB: 200 }],
    [/^delta restore/, { cpu: 1.3 }],
  ],
}

/** What is wanted of this job; undefined: nothing. */
export function goalOf(job: string, { repo, remote, files, sizeMiB }: Settings): Goal | undefined {
  const large: Where[] = sizeMiB >= 10 * 1024 ? ['disk, from 10 GiB', 'disk'] : ['disk']
  const where: Where[] = remote !== undefined ? ['hosts'] : files > 0 ? ['many files'] : repo === 's3' ? ['s3'] : large
  return where.flatMap((place) => GOALS[place]).find(([pattern]) => pattern.test(job))?.[1]
}

/** The results as a table in Markdown, each beside its goal. */
export function tableOfGoals(rows: readonly Row[], settings: Settings): string {
  const lines = rows.map((row) => {
    const { wall, cpu, seconds, peakMiB } = goalOf(row.job, settings) ?? {}
    const parts: [number | undefined, number, (value: number) => string][] = [
      [wall, row.ratio, (value) => `wall ${value}`],
      [cpu, row.cpuRatio, (value) => `CPU ${value}`],
      [seconds, row.pgts.seconds, (value) => `${value} s`],
      [peakMiB, row.pgts.peakMiB, (value) => `${value} MiB`],
    ]
    const given = parts.flatMap(([goal, value, text]) => (goal === undefined ? [] : [{ goal, value, text }]))
    const goals = given.map(({ goal, text }) => text(goal)).join(', ')
    const reached = given.every(({ goal, value }) => value <= goal)
    const memory = `${row.pgts.peakMiB.toFixed(0)}, ${row.pgbackrest.peakMiB.toFixed(0)}`
    const ratios = `${row.ratio.toFixed(2)} | ${row.cpuRatio.toFixed(2)}`
    return `| ${row.job} | ${ratios} | ${memory} | ${goals} | ${given.length === 0 ? '' : reached ? 'yes' : 'no'} |`
  })
  return ['| job | wall | CPU | MiB | goal | reached |', '|---|---|---|---|---|---|', ...lines].join('\n')
}
