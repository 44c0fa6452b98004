import type { DrillReport } from '../../commands/drill.ts'
import { formatSize } from '../../util/format-size.ts'
import { zonedDateTime } from '../../util/local-time.ts'
import { repoId } from '../../util/repo-id.ts'
import { renderReport } from './report.ts'
import { counted, duration } from './result.ts'
import { wrapped } from './wrapped.ts'

/** The report of `drill`, as JSON or as text of at most 80 columns. */
export function renderDrill(report: DrillReport, output: 'none' | 'text' | 'json'): string | undefined {
  return output === 'text' ? text(report) : renderReport('drill', report, output)
}

function text(report: DrillReport): string {
  const { label, repoKey, result, problem, checks, kept } = report
  const rows: (readonly [name: string, value: string])[] = [
    ...(problem === undefined ? [] : [['problem', problem.message.replaceAll('\n', ' ')] as const]),
    ['target', targetText(report)],
    ...durationRows(report),
    ...checks.map(
      ({ name, result: found, detail }) =>
        [name, detail === undefined ? found : `${found.padEnd(8)}${detail}`] as const,
    ),
    ['host', hostText(report)],
    ...(kept === undefined ? [] : [['kept', kept] as const]),
  ]
  const lines = rows.flatMap(([name, value]) => wrapped(value, `    ${name.padEnd(11)}`, ' '.repeat(15)))
  return `${[`drill of ${label} (${repoId(repoKey)}): ${result}`, ...lines].join('\n')}\n`
}

function targetText({ type, target }: DrillReport): string {
  return type === 'immediate' ? 'the end of the backup' : `${type} ${target ?? ''}`
}

function durationRows(report: DrillReport): (readonly [name: string, value: string])[] {
  const { durations, restoredFiles, restoredBytes = 0, replayLsn, lastCommitMs } = report
  const { restoreMs, recoveryMs, totalMs } = durations
  const files = restoredFiles === undefined ? '' : `${counted(restoredFiles, 'file')}, ${formatSize(restoredBytes)}`
  const commit = lastCommitMs === undefined ? '' : `, last commit ${zonedDateTime(Math.floor(lastCommitMs / 1000))}`
  const row = (name: string, ms: number | undefined, what = '') =>
    ms === undefined ? [] : [[name, `${duration(ms).padEnd(8)}${what}`.trimEnd()] as const]
  return [
    ...row('restore', restoreMs, files),
    ...row('recovery', recoveryMs, replayLsn === undefined ? '' : `to ${replayLsn}${commit}`),
    ...row('total', totalMs),
  ]
}

function hostText({ host, postgres }: DrillReport): string {
  return postgres === undefined ? host : `${host}, PostgreSQL ${postgres}`
}
