import { defineRule } from '../rule.ts'

export const archiveMode = defineRule({
  id: 'archive-mode',
  area: 'server',
  severity: 'error',
  reports: 'archive_mode is off; a warning on a standby, and if it is always',
  why: 'without WAL in the archive no online backup can be restored, and no point in time be reached',
  needs: ['server'],
  check: ({ server: { settings, pendingRestart, inRecovery } }, site) => {
    const mode = settings.get('archive_mode')
    const set = site.psql("alter system set archive_mode = 'on'")
    const restart = '# restart the server: a reload is not enough'
    if (mode === 'off') {
      const isSet = pendingRestart.includes('archive_mode')
      const next = isSet ? [restart] : [set, restart]
      // A standby archives only after its promotion.
      return [{ severity: inRecovery ? 'warning' : 'error', message: 'archive_mode is off', next }]
    }
    if (mode !== 'always') return []
    const message = 'archive_mode is always: standbys archive the same WAL again'
    return [{ severity: 'warning', message, next: [set, restart] }]
  },
})
