import type { DrillRecord } from '../../../core/drill/record.ts'
import { zonedDateTime } from '../../../util/local-time.ts'
import { duration } from '../result.ts'
import type { Markup } from './markup.ts'
import { figure, marker, PLOT, type LegendEntry } from './plot.ts'
import { linearScale, timeScale } from './scale.ts'

const TOP = 14
const BOTTOM = 170
const RADIUS = 5

const LEGEND: readonly LegendEntry[] = [
  { kind: 'passed', text: 'passed' },
  { kind: 'failed', text: 'failed: the backup is at fault' },
  { kind: 'error', text: 'could not run' },
]

const startOf = ({ startedMs }: DrillRecord) => Math.floor(startedMs / 1000)
const text = (ms: number | undefined) => (ms === undefined ? '' : duration(ms))

/** How long each drill took until the restored server answered, which is what a real restore would take. */
export function drillPlot(id: string, drills: readonly DrillRecord[], now: number): Markup {
  const x = timeScale([startOf(drills[0]!), now], [PLOT.left, PLOT.right - 6])
  const y = linearScale(Math.max(...drills.map(secondsToAnswer)), [BOTTOM, TOP], 'seconds')
  const failures = drills.filter(({ result }) => result !== 'passed').length
  return figure({
    id,
    title: 'Drills: time until the restored server answered',
    description: `${drills.length} drills on a time axis, ${failures} of them without success.`,
    bottom: BOTTOM,
    x,
    y,
    marks: drills.map((drill) =>
      marker(drill.result, x.at(startOf(drill)), y.at(secondsToAnswer(drill)), RADIUS, about(drill)),
    ),
    legend: LEGEND.filter(({ kind }) => kind === 'passed' || drills.some(({ result }) => result === kind)),
    table: {
      columns: ['time', 'backup', 'result', 'restore', 'recovery', 'checks', 'last commit', 'problem'],
      rows: drills
        .toReversed()
        .map((drill) => [
          zonedDateTime(startOf(drill)),
          drill.label,
          drill.result,
          text(drill.durations.restoreMs),
          text(drill.durations.recoveryMs),
          text(drill.durations.checksMs),
          drill.lastCommitMs === undefined ? '' : zonedDateTime(Math.floor(drill.lastCommitMs / 1000)),
          problemOf(drill),
        ]),
    },
  })
}

/** Of a drill that failed earlier, until it failed. */
function secondsToAnswer({ durations: { restoreMs, recoveryMs, totalMs } }: DrillRecord): number {
  return (recoveryMs === undefined ? totalMs : (restoreMs ?? 0) + recoveryMs) / 1000
}

function about(drill: DrillRecord): string {
  const { label, result } = drill
  const first = `${result}: ${label}, ${zonedDateTime(startOf(drill))}, ${duration(secondsToAnswer(drill) * 1000)}`
  return result === 'passed' ? first : `${first}\n${problemOf(drill)}`
}

function problemOf({ problem, checks }: DrillRecord): string {
  if (problem !== undefined) return problem.message
  return checks
    .flatMap(({ name, result }) => (result === 'failed' || result === 'warning' ? [`${name}: ${result}`] : []))
    .join(', ')
}
