import { defineRule } from '../rule.ts'

export const pendingRestart = defineRule({
  id: 'pending-restart',
  area: 'server',
  severity: 'warning',
  reports: 'a setting that archiving depends on was changed, and needs a restart',
  why: 'the value in the file is not the one that the server works with',
  needs: ['server'],
  check: ({ server: { pendingRestart: names } }, site) =>
    names.length === 0
      ? []
      : [
          {
            message: `the server was not restarted since ${names.join(', ')} changed`,
            next: [
              site.psql('select name, setting, sourcefile, sourceline from pg_settings where pending_restart'),
              '# restart the server',
            ],
          },
        ],
})
