import { ago } from '../../archive/status/diagnose.ts'
import { defineRule } from '../rule.ts'

/** A running command writes its progress at least every few minutes. */
const SILENT_MS = 6 * 3_600_000

export const staleLock = defineRule({
  id: 'stale-lock',
  area: 'backup',
  severity: 'warning',
  reports: 'a process has held a lock of the stanza for six hours without progress',
  why: 'while it holds the lock no other backup, expire or restore can run',
  needs: ['host'],
  check: ({ host: { locks } }, site) =>
    locks
      .filter(({ type, writtenMs }) => type !== 'archive' && site.nowMs - writtenMs > SILENT_MS)
      .map(({ path, pid, writtenMs }) => ({
        message: `${pid === undefined ? 'a process' : `process ${pid}`} has held ${path} without progress for ${ago(site.nowMs - writtenMs)}`,
        next: pid === undefined ? [`fuser -v ${path}`] : [`ps -fp ${pid}`, '# if it is stuck', `kill ${pid}`],
      })),
})
