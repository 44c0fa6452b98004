import type { VerifyMemory } from '../verify/memory.ts'
import type { MetricFamily } from './family.ts'

/** What verify has recorded about one stanza in one repository. */
export interface Verified {
  readonly repoKey: number
  readonly stanza: string
  readonly memory: VerifyMemory
}

/** pgts's own metrics about verify. A stanza that was never verified has no series. */
export function verifyFamilies(verified: readonly Verified[], nowSeconds: number): MetricFamily[] {
  const found = verified.flatMap(({ repoKey, stanza, memory }) => {
    const times = [...memory.values()].flatMap(({ provenMs }) => (provenMs === undefined ? [] : [provenMs / 1000]))
    return times.length === 0 ? [] : [{ labels: [String(repoKey), stanza], times }]
  })
  const family = (suffix: string, help: string, value: (times: readonly number[]) => number): MetricFamily => ({
    name: `pgts_verify_${suffix}`,
    help,
    labels: ['repo_key', 'stanza'],
    samples: found.map(({ labels, times }) => ({ labels, value: value(times) })),
  })
  const age = (seconds: number) => Math.max(0, nowSeconds - seconds)
  return [
    family(
      'since_oldest_seconds',
      'Seconds since the backup or directory of WAL whose last verification is oldest was verified as intact.',
      (times) => age(times.reduce((least, time) => Math.min(least, time))),
    ),
    family('since_newest_seconds', 'Seconds since verify last found something intact.', (times) =>
      age(times.reduce((most, time) => Math.max(most, time))),
    ),
  ]
}
