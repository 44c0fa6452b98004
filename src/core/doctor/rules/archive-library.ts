import { defineRule } from '../rule.ts'

export const archiveLibrary = defineRule({
  id: 'archive-library',
  area: 'archive',
  severity: 'error',
  reports: 'archive_library is set, so that PostgreSQL does not use archive_command',
  why: 'no WAL reaches the repositories',
  needs: ['archiving'],
  check: ({ archiving: { server } }, site) =>
    server === undefined || server.mode === 'off' || server.library === ''
      ? []
      : [
          {
            message: `archive_library is '${server.library}', so PostgreSQL never calls archive_command`,
            next: [site.psql("alter system set archive_library = ''"), site.psql('select pg_reload_conf()')],
          },
        ],
})
