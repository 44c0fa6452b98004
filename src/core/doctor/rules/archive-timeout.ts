import { ago } from '../../archive/status/diagnose.ts'
import { defineRule } from '../rule.ts'

/** From this age on the unarchived WAL of a quiet server is a warning. */
const QUIET_MS = 3_600_000

export const archiveTimeout = defineRule({
  id: 'archive-timeout',
  area: 'server',
  severity: 'notice',
  reports: 'archive_timeout is 0; a warning if the current segment has not been archived for an hour',
  why: 'on a quiet server a commit can stay for hours in a segment that exists only on this host',
  needs: ['server', 'archiving'],
  check: ({ server: { settings, inRecovery }, archiving }, site) => {
    const archiver = archiving.server
    if (inRecovery || settings.get('archive_timeout') !== '0' || archiver?.mode !== 'on') return []
    const last = archiver.lastArchived
    const quietMs = last === undefined ? 0 : site.nowMs - last.timeMs
    const isLate = quietMs > QUIET_MS
    return [
      {
        severity: isLate ? 'warning' : 'notice',
        message: `archive_timeout is 0${isLate ? `, and the last segment was archived ${ago(quietMs)} ago` : ''}`,
        next: [site.psql("alter system set archive_timeout = '60s'"), site.psql('select pg_reload_conf()')],
      },
    ]
  },
})
