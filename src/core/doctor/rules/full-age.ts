import { ago } from '../../archive/status/diagnose.ts'
import { medianInterval, readable } from '../readable.ts'
import { defineRule } from '../rule.ts'

/** As long as the schedule is not known: a monthly full backup and some days. */
const UNKNOWN_MS = 35 * 86_400_000

export const fullAge = defineRule({
  id: 'full-age',
  area: 'backup',
  severity: 'warning',
  reports:
    'the last full backup is older than retention-full days (retention-full-type=time), twice the usual interval, or 35 days',
  why: 'retention counts full backups: nothing expires before the next one, and every backup depends on the old one',
  needs: ['repositories'],
  check: ({ repositories }, site) =>
    readable(repositories).flatMap(({ key, stanza }) => {
      const fulls = stanza.backups.filter(({ type }) => type === 'full').map((full) => full.timestampStop * 1000)
      if (fulls.length === 0) return []
      const retention = site.repos.find((repo) => repo.key === key)?.retention
      const days = retention?.fullType === 'time' ? retention.full : undefined
      const interval = medianInterval(fulls)
      const usual = interval === undefined ? UNKNOWN_MS : Math.max(2 * interval, 8 * 86_400_000)
      const limit = days === undefined ? usual : Math.min(usual, days * 86_400_000)
      const age = site.nowMs - Math.max(...fulls)
      if (age <= limit) return []
      return [
        {
          repoKey: key,
          message: `the last full backup is ${ago(age)} old; the limit is ${ago(limit)}`,
          next: [site.pgts('backup', '--type=full', `--repo=${key}`)],
        },
      ]
    }),
})
