import type { ExpectedDuration } from '../../core/restore/expected-duration.ts'
import { stopText } from '../../core/restore/find-messages.ts'
import type { FileTotals, FoundTarget, Problem, RestorePlanReport } from '../../core/restore/plan-report.ts'
import { quoteSetting } from '../../core/restore/recovery.ts'
import { asBytes, bytesToText } from '../../util/byte-string.ts'
import { exitCodeText } from '../../util/error.ts'
import { formatSize } from '../../util/format-size.ts'
import { zonedDateTime } from '../../util/local-time.ts'
import { repoId } from '../../util/repo-id.ts'
import { windowLines } from './info-window-text.ts'
import { restorePlanJson } from './restore-plan-json.ts'
import { counted, duration } from './result.ts'
import { wrapped } from './wrapped.ts'

/** The report of `restore --dry-run`. Members of the JSON form are not renamed; new ones can be added. */
export function renderRestorePlan(plan: RestorePlanReport, output: 'text' | 'json'): string {
  return output === 'json' ? `${JSON.stringify(restorePlanJson(plan))}\n` : `${lines(plan).join('\n')}\n`
}

/** What a restore is about to do, in a few lines for the person who has called it. */
export function restoreSummary(plan: RestorePlanReport): string {
  const { files } = plan
  const rows = [
    ...backupRows(plan).slice(0, 1),
    ...targetRows(plan).slice(0, 1),
    ...walRows(plan).slice(0, 1),
    ...fileRows({ ...files, remove: [] }).slice(0, 2),
    ['delete', files.remove.length === 0 ? 'nothing' : `${files.remove.length} not in the backup`] as const,
    ...durationRows(plan).slice(0, 1),
  ]
  return `${rowLines(rows).join('\n')}\n`
}

function rowLines(rows: readonly Row[]): string[] {
  return rows.flatMap(([name, value]) =>
    wrapped(value, `    ${(name === '' ? '' : `${name}:`).padEnd(14)}`, ' '.repeat(18)),
  )
}

/** A name and its value; further lines of the value have an empty name. */
type Row = readonly [name: string, value: string]

function lines(plan: RestorePlanReport): string[] {
  const refused = plan.problems.some(({ exitCode }) => exitCode !== undefined)
  const text = [`restore of stanza ${plan.stanza}: ${refused ? 'would be refused' : 'possible'}`]
  for (const problem of plan.problems) text.push(...problemLines(problem))
  text.push('')
  const rows = [
    ...backupRows(plan),
    ...targetRows(plan),
    ...windowRows(plan),
    ...walRows(plan),
    ...fileRows(plan.files),
    ...spaceRows(plan),
    ...durationRows(plan),
    ...settingRows(plan),
  ]
  return [...text, ...rowLines(rows)]
}

function problemLines({ exitCode, message, hints }: Problem): string[] {
  const mark = exitCode === undefined ? '' : `${exitCodeText(exitCode)} `
  const parts = message.split('\n').map((line, index) => wrapped(line, index === 0 ? `  - ${mark}` : '    ', '    '))
  return [...parts.flat(), ...hints.flatMap((hint) => wrapped(`HINT: ${hint}`, '    ', '          '))]
}

function backupRows({ backup, repoKey, why }: RestorePlanReport): Row[] {
  const { label, type, sizeBytes, timestampStop, lsnStop } = backup
  return [
    ['backup', `${label}, ${type}, ${formatSize(sizeBytes)}, ${repoId(repoKey)}`],
    ['', why],
    ['', `stopped ${zonedDateTime(timestampStop)}${lsnStop === undefined ? '' : ` at LSN ${lsnStop}`}`],
  ]
}

function targetRows({ policy, verdict, found }: RestorePlanReport): Row[] {
  const { type, target, targetExclusive, targetAction } = policy
  const reached = { reachable: 'can be reached', unreachable: 'cannot be reached', unknown: 'not known in advance' }
  if (type === 'none') return [['target', 'no recovery']]
  if (type === 'preserve') return [['target', 'by the settings that exist']]
  if (type === 'standby') return [['target', 'standby: follows archive and primary']]
  const end = type === 'default' ? 'end of the archive' : type === 'immediate' ? 'end of the backup' : undefined
  const shown = end ?? `${type} ${bytesToText(target!)}${targetExclusive ? ', exclusive' : ''}`
  const rows: Row[] = [['target', `${shown}: ${reached[verdict]}`]]
  if (found !== undefined) rows.push(...foundRows(found, targetExclusive || type === 'time'))
  if (end === undefined || type === 'immediate') rows.push(['', `then ${targetAction ?? 'pause'}`])
  return rows
}

function foundRows({ stop, before }: FoundTarget, stopsBefore: boolean): Row[] {
  const rows: Row[] = [['', `stops ${stopsBefore ? 'before' : 'after'} the ${stopText(stop)}`]]
  if (before !== undefined) rows.push(['', `the last one before it: ${stopText(before)}`])
  return rows
}

function windowRows({ window }: RestorePlanReport): Row[] {
  if (window === undefined) return []
  return windowLines(window, WINDOW_WIDTH).map((line, index) => [index === 0 ? 'window' : '', line])
}

/** Columns of the drawing, so that a row has 80. */
const WINDOW_WIDTH = 58

function walRows({ wal }: RestorePlanReport): Row[] {
  if (wal === undefined) return []
  const { first, last, segments, missing, gap, storedMs, segmentSize, timelines } = wal
  const rows: Row[] = [
    ['wal', last === undefined ? `${first} is missing` : `${first} to ${last}`],
    ['', `${counted(segments, 'segment')}, ${formatSize(segments * segmentSize)}, timeline ${timelines.join(', ')}`],
  ]
  if (missing !== undefined && last !== undefined)
    rows.push(['', gap ? `gap: ${missing} is missing` : 'the archive ends there'])
  else if (missing === undefined) rows.push(['', 'every segment is present'])
  if (storedMs !== 0) rows.push(['', `last one stored at ${zonedDateTime(storedMs / 1000)}`])
  return rows
}

/** Examples of removed entries. */
const SHOWN = 5

function fileRows({ write, compare, keep, zero, overwrite, remove }: FileTotals): Row[] {
  const most = compare.files === 0 ? '' : ` to ${formatSize(write.fetchBytes + compare.fetchBytes)}`
  const rows: Row[] = [
    ['fetch', `${formatSize(write.fetchBytes)}${most}`],
    ['write', `${counted(write.files, 'file')}, ${formatSize(write.bytes)}`],
  ]
  if (compare.files > 0)
    rows.push(['compare', `${counted(compare.files, 'file')}, ${formatSize(compare.bytes)}: written if they differ`])
  if (keep.files > 0) rows.push(['keep', `${counted(keep.files, 'file')}, ${formatSize(keep.bytes)}`])
  if (zero.files > 0) rows.push(['zero', `${counted(zero.files, 'file')} of excluded databases`])
  rows.push(['overwrite', overwrite === 0 ? 'nothing' : counted(overwrite, 'existing file')])
  rows.push(['delete', remove.length === 0 ? 'nothing' : `${remove.length} not in the backup`])
  for (const path of remove.slice(0, SHOWN)) rows.push(['', bytesToText(path)])
  if (remove.length > SHOWN) rows.push(['', `and ${remove.length - SHOWN} more`])
  return rows
}

function spaceRows({ fileSystems }: RestorePlanReport): Row[] {
  return fileSystems.flatMap(({ path, neededBytes, freeBytes, compresses }, index): Row[] => [
    [index === 0 ? 'disk' : '', bytesToText(path)],
    ['', `needs ${formatSize(neededBytes)}${compresses ? ' or less' : ''}, ${formatSize(freeBytes)} free`],
  ])
}

function durationRows({ duration: expected, wal }: RestorePlanReport): Row[] {
  const replay = (wal?.segments ?? 0) > 0 ? ', then replay of the WAL' : ''
  if (expected === undefined) return [['duration', `unknown${replay}`]]
  return [
    ['duration', `about ${duration(expected.seconds * 1000)}${replay}`],
    ['', rateText(expected)],
  ]
}

function rateText({ label, drillMs }: ExpectedDuration): string {
  if (drillMs === undefined) return `at the rate of backup ${label}`
  return `at the rate of the drill of ${zonedDateTime(Math.floor(drillMs / 1000))}`
}

function settingRows({ settings: { file, values, signalFile } }: RestorePlanReport): Row[] {
  if (file === undefined) return [['settings', 'none are written']]
  const rows: Row[] = [['settings', bytesToText(file)]]
  for (const [key, value] of values) rows.push(['', `${key} = ${bytesToText(asBytes(quoteSetting(value)))}`])
  if (signalFile !== undefined) rows.push(['', bytesToText(signalFile)])
  return rows
}
