import type { DoctorReport } from '../../commands/doctor.ts'
import type { Finding, Severity } from '../../core/doctor/rule.ts'
import { EXIT_CODES } from '../../util/error.ts'
import { repoId } from '../../util/repo-id.ts'
import type { Outcome } from '../command-row.ts'
import { renderReport } from './report.ts'
import { counted } from './result.ts'
import { wrapped } from './wrapped.ts'

/** `nagios`: one line and the exit codes of a monitoring plugin. The others: 104 for errors and warnings. */
export function renderDoctor(report: DoctorReport, output: 'text' | 'json' | 'nagios'): Outcome {
  if (output === 'nagios') return { text: `${nagiosLine(report)}\n`, exitCode: NAGIOS[report.state].code }
  const exitCode = report.state === 'error' || report.state === 'warning' ? EXIT_CODES.command : 0
  if (output === 'json') return { text: renderReport('doctor', report, 'json'), exitCode }
  const { stanza, findings, notChecked, checked } = report
  if (findings.length === 0)
    return { result: `stanza ${stanza}: no findings, ${counted(checked, 'rule')} checked`, exitCode }
  const lines = [`stanza ${stanza}: ${totals(findings)}`, ...findings.flatMap(findingLines)]
  if (notChecked.length > 0) {
    lines.push('', ...wrapped(notChecked.map(({ rule }) => rule).join(', '), 'not checked: ', '    '))
  }
  return { text: `${lines.join('\n')}\n`, exitCode }
}

function findingLines({ severity, rule, repoKey, message, why, next }: Finding): string[] {
  const where = repoKey === undefined ? '' : ` ${repoId(repoKey)}`
  return [
    '',
    ...wrapped(oneLine(message), `${severity} [${rule}]${where}: `, '    '),
    ...wrapped(why, '    why:  ', '          '),
    // A command is not wrapped: it is pasted.
    ...next.flatMap((line, index) => {
      const head = index === 0 ? '    next: ' : '          '
      return line.startsWith('# ') ? wrapped(line.slice(2), `${head}# `, '          # ') : [head + line]
    }),
  ]
}

const SEVERITIES: readonly Severity[] = ['error', 'warning', 'notice']

/** `2 errors, 1 notice` */
function totals(findings: readonly Finding[]): string {
  return SEVERITIES.flatMap((severity) => {
    const count = findings.filter((finding) => finding.severity === severity).length
    return count === 0 ? [] : [counted(count, severity)]
  }).join(', ')
}

const NAGIOS = {
  ok: { word: 'OK', code: 0 },
  notice: { word: 'OK', code: 0 },
  warning: { word: 'WARNING', code: 1 },
  error: { word: 'CRITICAL', code: 2 },
} as const

/** `PGTS CRITICAL - main: 1 error, 1 warning: archive-failing, repository-lags | errors=1 warnings=1` */
function nagiosLine({ stanza, state, findings }: DoctorReport): string {
  const number = (severity: Severity) => findings.filter((finding) => finding.severity === severity).length
  const rules = [...new Set(findings.map(({ rule }) => rule))].join(', ')
  const what = findings.length === 0 ? 'no findings' : `${totals(findings)}: ${rules}`
  return `PGTS ${NAGIOS[state].word} - ${stanza}: ${what} | errors=${number('error')} warnings=${number('warning')}`
}

function oneLine(text: string): string {
  return text.replaceAll(/\s*\n\s*/g, '; ')
}
