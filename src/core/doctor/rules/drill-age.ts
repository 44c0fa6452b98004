import { ago } from '../../archive/status/diagnose.ts'
import { readable } from '../readable.ts'
import { defineRule } from '../rule.ts'

export const drillAge = defineRule({
  id: 'drill-age',
  area: 'backup',
  severity: 'warning',
  reports: 'the last drill is older than doctor-drill-age; an error if it failed; a notice if there was none',
  why: 'only a server that recovers proves that a backup can be restored',
  needs: ['repositories'],
  check: ({ repositories }, site) => {
    const known = readable(repositories).filter(({ stanza }) => stanza.backups.length > 0)
    if (known.length === 0) return []
    // One of any repository proves the way to restore.
    const drills = known.flatMap(({ key, stanza: { drill } }) => (drill === undefined ? [] : [{ key, ...drill }]))
    const last = drills.toSorted((a, b) => b.startedMs - a.startedMs)[0]
    if (last === undefined)
      return [{ severity: 'notice', message: 'no drill was ever run', next: [site.pgts('drill')] }]
    const { key, label, startedMs, result, problem } = last
    const next = [site.pgts('drill', `--repo=${key}`)]
    const age = site.nowMs - startedMs
    if (result !== 'passed') {
      const severity = result === 'failed' ? 'error' : 'warning'
      const what = result === 'failed' ? 'failed' : 'could not run'
      const message = `the drill of ${label} ${ago(age)} ago ${what}${problem === undefined ? '' : `: ${problem.message}`}`
      return [{ severity, repoKey: key, message, next }]
    }
    const limit = site.promised.drillAgeMs
    if (age <= limit) return []
    return [{ message: `the last drill was ${ago(age)} ago; doctor-drill-age is ${ago(limit)}`, next }]
  },
})
