import type { ArchiveStatus } from '../../core/archive/status/archive-status.ts'
import { ago, timeText } from '../../core/archive/status/diagnose.ts'
import { formatSize } from '../../util/format-size.ts'
import { repoId } from '../../util/repo-id.ts'
import { wrapped } from './wrapped.ts'

/** The report of `archive-status`. Members of the JSON form are not renamed; new ones can be added. */
export function renderArchiveStatus(status: ArchiveStatus, output: 'text' | 'json'): string {
  return output === 'json' ? `${JSON.stringify(status)}\n` : `${lines(status).join('\n')}\n`
}

function lines(status: ArchiveStatus): string[] {
  const rows = [
    serverRow(status),
    ...queueRows(status),
    ...resultRows(status),
    ...rateRows(status),
    ...backgroundRows(status),
    ...spoolRows(status),
  ]
  if (status.stopFile !== undefined) rows.push(['stopped', status.stopFile])

  const text = [`stanza: ${status.stanza}`, `    archiving: ${status.state}`, '']
  for (const [name, value] of rows)
    text.push(...wrapped(value, `    ${(name === '' ? '' : `${name}:`).padEnd(14)}`, ' '.repeat(18)))
  if (status.findings.length > 0) text.push('')
  for (const { text: finding } of status.findings) text.push(...wrapped(finding, '    - ', '      '))
  return text
}

/** A name and its value; further lines of the value have an empty name. */
type Row = [string, string]

function serverRow({ server }: ArchiveStatus): Row {
  return [
    'server',
    server.reachable
      ? `${server.role}, archive_mode ${server.archiveMode}${server.lsn === undefined ? '' : `, at ${server.lsn}`}`
      : `no answer: ${server.why ?? 'not asked'}`,
  ]
}

function queueRows({ queue, lag }: ArchiveStatus): Row[] {
  const rows: Row[] = []
  if (queue === undefined) rows.push(['queue', 'archive_status cannot be read'])
  else if (queue.files === 0) rows.push(['queue', 'empty'])
  else {
    const limit = queue.limitBytes === undefined ? '' : ` of ${formatSize(queue.limitBytes)}`
    rows.push(['queue', `${queue.files} file(s), ${formatSize(queue.bytes)}${limit}`])
    rows.push(['', queue.first === queue.last ? `${queue.first}` : `${queue.first} to ${queue.last}`])
    if (queue.oldestSeconds !== undefined) rows.push(['', `the first waits for ${ago(queue.oldestSeconds * 1000)}`])
  }
  if (lag !== undefined) {
    const what = lag.of === 'server' ? '' : ' in files that wait'
    rows.push(['lag', `${formatSize(lag.bytes)}${what}, ${ago(lag.seconds * 1000)}`])
  }
  return rows
}

function resultRows({ lastSuccess, lastFailure, timeMs }: ArchiveStatus): Row[] {
  const rows: Row[] = []
  rows.push(['last success', lastSuccess === undefined ? 'none known' : lastSuccess.file])
  if (lastSuccess !== undefined) rows.push(['', when(lastSuccess.timeMs, timeMs)])
  rows.push(['last failure', lastFailure === undefined ? 'none known' : lastFailure.file])
  if (lastFailure !== undefined) {
    rows.push(['', when(lastFailure.timeMs, timeMs)])
    if (lastFailure.message !== undefined) rows.push(['', `[${pad(lastFailure.code)}] ${oneLine(lastFailure.message)}`])
  }
  return rows
}

function rateRows({ rate }: ArchiveStatus): Row[] {
  if (rate === undefined) return []
  const perMinute = rate.seconds === 0 ? 0 : Math.round((rate.files * 600) / rate.seconds) / 10
  const size = rate.bytes === 0 || rate.seconds === 0 ? '' : `, ${formatSize(Math.round(rate.bytes / rate.seconds))}/s`
  return [['rate', `${perMinute} files/min${size} over ${ago(rate.seconds * 1000)}`]]
}

function backgroundRows({ background, timeMs }: ArchiveStatus): Row[] {
  if (background === undefined) return []
  const rows: Row[] = []
  const { push, get } = background
  rows.push(['push process', `${push.state}${push.pid === undefined ? '' : `, pid ${push.pid}`}`])
  if (push.why !== undefined) rows.push(['', oneLine(push.why)])
  for (const { file, seconds } of push.inHand) rows.push(['', `pushes ${file} for ${ago(seconds * 1000)}`])
  for (const { key, trouble: failure, seconds } of background.repositories)
    if (failure !== undefined)
      rows.push(['', `${repoId(key)} fails for ${ago((seconds ?? 0) * 1000)}: ${oneLine(failure)}`])
  if (background.dropped !== undefined) {
    const { files, file, timeMs: at } = background.dropped
    rows.push(['dropped', `${files} file(s), last ${file}`], ['', when(at, timeMs)])
  }
  rows.push(['get process', `${get.state}${get.pid === undefined ? '' : `, pid ${get.pid}`}`])
  return rows
}

function spoolRows({ spool }: ArchiveStatus): Row[] {
  if (spool === undefined) return []
  const rows: Row[] = []
  rows.push(['spool', spool.path])
  rows.push(['', `${spool.errors.length} error(s), ${spool.warnings.length} warning(s), ${spool.fetched} fetched`])
  for (const { file, code, message } of [...spool.errors, ...spool.warnings, ...spool.fetchErrors])
    rows.push(['', `${file}: ${code === 0 ? '' : `[${pad(code)}] `}${oneLine(message)}`])
  return rows
}

function when(ms: number, nowMs: number): string {
  return `${timeText(ms)}, ${ago(nowMs - ms)} ago`
}

function pad(code: number | undefined): string {
  return String(code ?? 0).padStart(3, '0')
}

function oneLine(text: string): string {
  return text.replaceAll(/\s*\n\s*/g, '; ')
}
