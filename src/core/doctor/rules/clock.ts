import { ago } from '../../archive/status/diagnose.ts'
import { readable } from '../readable.ts'
import { defineRule, type Found } from '../rule.ts'

/** Stores refuse requests from 15 minutes on, and labels of backups must not go back. */
const WARN_MS = 60_000
const ERROR_MS = 5 * 60_000

export const clock = defineRule({
  id: 'clock',
  area: 'host',
  severity: 'warning',
  reports:
    'the clock of this host differs from that of a store by a minute (five: error), or files and backups are from the future',
  why: 'stores refuse requests with a wrong time, and labels of backups must not go back',
  needs: ['repositories', 'stores'],
  check: ({ repositories, stores }, { nowMs }) => {
    const next = ['timedatectl status']
    const severity = (ms: number) => (Math.abs(ms) >= ERROR_MS ? ('error' as const) : ('warning' as const))
    const found: Found[] = []
    for (const { key, clockOffsetMs = 0 } of stores) {
      if (Math.abs(clockOffsetMs) < WARN_MS) continue
      const way = clockOffsetMs > 0 ? 'behind' : 'ahead of'
      const message = `the clock of this host is ${ago(Math.abs(clockOffsetMs))} ${way} that of the store`
      found.push({ severity: severity(clockOffsetMs), repoKey: key, message, next })
    }
    for (const { key, stanza } of readable(repositories)) {
      const stops = stanza.backups.map(({ timestampStop }) => timestampStop * 1000)
      const aheadMs = Math.max(stanza.infoMs, ...stops) - nowMs
      if (aheadMs < WARN_MS || found.some(({ repoKey }) => repoKey === key)) continue
      const message = `backup.info or a backup is from the future, by ${ago(aheadMs)}`
      found.push({ severity: severity(aheadMs), repoKey: key, message, next })
    }
    return found
  },
})
