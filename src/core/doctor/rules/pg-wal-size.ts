import { formatSize } from '../../../util/format-size.ts'
import { defineRule } from '../rule.ts'

const MIB = 1024 * 1024

export const pgWalSize = defineRule({
  id: 'pg-wal-size',
  area: 'server',
  severity: 'warning',
  reports: 'pg_wal is larger than twice what max_wal_size and wal_keep_size explain',
  why: 'WAL that is not archived, or that a slot keeps, fills the disk until the server stops',
  needs: ['cluster', 'server'],
  check: ({ cluster: { walBytes }, server: { settings } }, site) => {
    const setting = (name: string) => Math.max(0, Number(settings.get(name) ?? 0))
    const keep = setting('wal_keep_size') * MIB + setting('wal_keep_segments') * setting('wal_segment_size')
    const usual = setting('max_wal_size') * MIB + keep
    if (usual === 0 || walBytes <= 2 * usual) return []
    return [
      {
        message: `pg_wal has ${formatSize(walBytes)}, and the settings explain ${formatSize(usual)}`,
        next: [site.pgts('archive-status'), site.psql('select * from pg_replication_slots')],
      },
    ]
  },
})
