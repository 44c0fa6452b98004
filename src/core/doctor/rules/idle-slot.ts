import { formatSize } from '../../../util/format-size.ts'
import { defineRule } from '../rule.ts'

export const idleSlot = defineRule({
  id: 'idle-slot',
  area: 'server',
  severity: 'warning',
  reports: 'a replication slot is not in use and keeps WAL, or has lost its WAL',
  why: 'the server keeps all WAL since then in pg_wal, until the disk is full and the server stops',
  needs: ['server'],
  check: ({ server: { slots, settings } }, site) => {
    const segment = Number(settings.get('wal_segment_size') ?? 0)
    return slots.flatMap(({ name, active, retainedBytes, walStatus }) => {
      const drop = site.psql(`select pg_drop_replication_slot('${name.replaceAll("'", "''")}')`)
      if (walStatus === 'lost') {
        const message = `replication slot ${name} has lost the WAL it needs`
        return [{ message, next: ['# set up its consumer again, and drop the slot', drop] }]
      }
      if (active || retainedBytes === undefined || retainedBytes < segment) return []
      return [
        {
          message: `replication slot ${name} is idle and keeps ${formatSize(retainedBytes)} of WAL`,
          next: ['# start its consumer; if it does not exist any more, drop the slot', drop],
        },
      ]
    })
  },
})
