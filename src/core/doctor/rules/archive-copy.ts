import { zonedDateTime } from '../../../util/local-time.ts'
import { defineRule } from '../rule.ts'

export const archiveCopy = defineRule({
  id: 'archive-copy',
  area: 'archive',
  severity: 'error',
  reports: 'the cluster is a restored copy, and its archive_command names the stanza of the original',
  why: 'archive-push refuses its WAL, which stays in pg_wal until the disk is full',
  needs: ['cluster', 'archiving'],
  check: ({ cluster: { copy }, archiving: { server } }, site) => {
    if (copy === undefined || server?.mode === 'off') return []
    const since =
      copy === 'unknown' ? '' : ` of ${copy.label}, restored ${zonedDateTime(Math.floor(copy.restoredMs / 1000))}`
    return [
      {
        message: `this cluster is a copy${since}, and may not archive into stanza ${site.stanza}`,
        next: [
          '# if it replaces the original',
          site.pgts('archive-allow'),
          '# else',
          site.psql("alter system set archive_mode = 'off'"),
          '# and restart the server',
        ],
      },
    ]
  },
})
