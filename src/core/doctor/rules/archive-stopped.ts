import { defineRule } from '../rule.ts'

export const archiveStopped = defineRule({
  id: 'archive-stopped',
  area: 'archive',
  severity: 'error',
  reports: 'a stop file exists',
  why: 'WAL stays in pg_wal and backups are refused until it is removed',
  needs: ['host'],
  check: ({ host: { stopFile } }, site) =>
    stopFile === undefined
      ? []
      : [
          {
            message: `an operator has stopped pgts: ${stopFile} exists`,
            next: ['# when the maintenance is over', site.pgts('start')],
          },
        ],
})
