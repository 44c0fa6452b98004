import type { LeaseReport } from '../../commands/lease.ts'
import { repoId } from '../../util/repo-id.ts'

/** The report of `lease`. Members of the JSON form are not renamed; new ones can be added. Times are milliseconds since the epoch. */
export function renderLeases(reports: readonly LeaseReport[], output: 'text' | 'json'): string {
  if (output === 'text') return reports.map((report) => `${repoId(report.repoKey)}: ${text(report)}\n`).join('')
  const rows = reports.map(({ repoKey, found, broken }) => ({
    repo: repoKey,
    state: found === undefined ? 'free' : broken ? 'broken' : found.stale ? 'stale' : 'held',
    ...(found === undefined
      ? {}
      : {
          host: found.lease?.host,
          pid: found.lease?.pid,
          command: found.lease?.command,
          sinceMs: found.lease?.sinceMs,
          lastSignMs: found.lastSignMs,
        }),
  }))
  return `${JSON.stringify(rows)}\n`
}

function text({ found, broken }: LeaseReport): string {
  if (found === undefined) return 'free'
  return `${broken ? 'broken' : found.stale ? 'stale' : 'held'}: ${found.description}`
}
