import { defineRule } from '../rule.ts'

export const slotLimit = defineRule({
  id: 'slot-limit',
  area: 'server',
  severity: 'warning',
  reports: 'replication slots exist, and max_slot_wal_keep_size does not limit the WAL that they keep',
  why: 'one consumer that stays away fills pg_wal until the server stops',
  needs: ['server'],
  check: ({ server: { slots, settings } }, site) =>
    slots.length === 0 || settings.get('max_slot_wal_keep_size') !== '-1'
      ? []
      : [
          {
            message: `max_slot_wal_keep_size is -1, and there are replication slots: ${slots.map(({ name }) => name).join(', ')}`,
            next: [
              '# choose a part of the free space of pg_wal',
              site.psql("alter system set max_slot_wal_keep_size = '10GB'"),
              site.psql('select pg_reload_conf()'),
            ],
          },
        ],
})
