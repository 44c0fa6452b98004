import { formatSize } from '../../../util/format-size.ts'
import { defineRule } from '../rule.ts'

/** Parts of a file system that should be free. */
const WARN_BELOW = 0.1
const ERROR_BELOW = 0.03

export const diskSpace = defineRule({
  id: 'disk-space',
  area: 'host',
  severity: 'warning',
  reports: 'less than 10% of a file system of pg_wal, data, spool, lock path or repository is free; an error below 3%',
  why: 'a full disk stops the server, or backups and archiving',
  needs: ['host'],
  check: ({ host: { disks } }) =>
    disks.flatMap(({ uses, path, freeBytes, totalBytes }) => {
      const part = freeBytes / totalBytes
      if (part >= WARN_BELOW) return []
      const left = `${formatSize(freeBytes)} (${(part * 100).toFixed(1)}%)`
      return [
        {
          severity: part < ERROR_BELOW ? ('error' as const) : ('warning' as const),
          message: `${left} is free where ${uses.join(', ')} ${uses.length === 1 ? 'is' : 'are'}: ${path}`,
          next: [`df -h ${path}`],
        },
      ]
    }),
})
