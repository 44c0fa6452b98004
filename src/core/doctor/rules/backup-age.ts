import { ago } from '../../archive/status/diagnose.ts'
import { lastBackupMs, medianInterval, readable, type ReadableRepository } from '../readable.ts'
import type { Site } from '../facts.ts'
import { defineRule } from '../rule.ts'

const HOUR_MS = 3_600_000
/** For a daily backup that once took longer. */
const LEAST_MS = 26 * HOUR_MS
/** As long as the schedule is not known: a weekly backup and a day. */
const UNKNOWN_MS = 8 * 24 * HOUR_MS

export const backupAge = defineRule({
  id: 'backup-age',
  area: 'backup',
  severity: 'error',
  reports: 'the last backup is older than doctor-backup-age, without it older than twice the usual interval',
  why: 'backups have stopped: a restore takes ever longer, and soon retention has nothing left to keep',
  needs: ['repositories'],
  check: ({ repositories }, site) =>
    readable(repositories).flatMap((repository) => {
      const last = lastBackupMs(repository)
      if (last === undefined) return []
      const { limitMs, source } = limitOf(repository, site)
      const age = site.nowMs - last
      if (age <= limitMs) return []
      return [
        {
          repoKey: repository.key,
          message: `the last backup is ${ago(age)} old; ${source} is ${ago(limitMs)}`,
          next: [
            '# look for the reason in the log of the last backup, and in the schedule (crontab, systemd timer), then',
            site.pgts('backup', `--repo=${repository.key}`),
          ],
        },
      ]
    }),
})

function limitOf({ stanza }: ReadableRepository, { promised }: Site): { limitMs: number; source: string } {
  if (promised.backupAgeMs !== undefined) return { limitMs: promised.backupAgeMs, source: 'doctor-backup-age' }
  const interval = medianInterval(stanza.backups.map(({ timestampStop }) => timestampStop * 1000))
  if (interval === undefined) return { limitMs: UNKNOWN_MS, source: 'the limit without a known schedule' }
  return { limitMs: Math.max(LEAST_MS, 2 * interval), source: 'twice the usual interval, but at least 26 hours,' }
}
