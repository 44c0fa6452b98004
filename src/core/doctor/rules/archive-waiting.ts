import { ago } from '../../archive/status/diagnose.ts'
import { formatSize } from '../../../util/format-size.ts'
import { defineRule } from '../rule.ts'

/** A file that waits for longer is reported. */
const PATIENCE_MS = 120_000
/** And is then an error: nothing gets into the archive. */
const LATE_MS = 900_000

export const archiveWaiting = defineRule({
  id: 'archive-waiting',
  area: 'archive',
  severity: 'warning',
  reports: 'WAL files wait to be archived for two minutes; an error after 15 minutes',
  why: 'what they contain is lost with this host',
  needs: ['archiving'],
  check: ({ archiving: { queue, server, nowMs } }, site) => {
    const { first, files, bytes, sinceMs } = queue ?? {}
    if (first === undefined || sinceMs === undefined || server?.mode === 'off') return []
    const age = nowMs - sinceMs
    if (age < PATIENCE_MS) return []
    return [
      {
        severity: age < LATE_MS ? 'warning' : 'error',
        message: `${files} WAL file(s) (${formatSize(bytes ?? 0)}) wait; the oldest, ${first}, for ${ago(age)}`,
        next: [site.pgts('archive-status')],
      },
    ]
  },
})
