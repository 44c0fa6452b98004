import type { InitReport } from '../../commands/init/report.ts'

/** The report of init: JSON as documented in docs/reference, or the last lines of the dialogue. */
export function renderInit(report: InitReport, output: 'text' | 'json'): string {
  if (output === 'json') return `${JSON.stringify(report)}\n`
  const done = report.steps.map(({ name, state }) => `${name}: ${state}`).join(', ')
  const head = report.dryRun
    ? 'Nothing was changed (--dry-run).'
    : report.complete
      ? 'pgts is set up.'
      : 'init is not complete.'
  const next = report.next.length === 0 ? [] : ['Next:', ...report.next.map((line) => `  ${line}`)]
  return `${['', head, `  ${done}`, ...next].join('\n')}\n`
}
