import { defineRule } from '../rule.ts'

export const walLevel = defineRule({
  id: 'wal-level',
  area: 'server',
  severity: 'error',
  reports: 'wal_level is minimal',
  why: 'WAL of this level cannot be archived, and online backups are refused by the server',
  needs: ['server'],
  check: ({ server: { settings } }, site) =>
    settings.get('wal_level') !== 'minimal'
      ? []
      : [
          {
            message: 'wal_level is minimal',
            next: [
              site.psql("alter system set wal_level = 'replica'"),
              '# restart the server, then take a full backup',
              site.pgts('backup', '--type=full'),
            ],
          },
        ],
})
