import type { DrillRecord } from '../drill/record.ts'
import type { MetricFamily } from './family.ts'

/** The drills of one stanza with backups of one repository. */
export interface Drilled {
  readonly repoKey: number
  readonly stanza: string
  readonly last: DrillRecord
  /** The newest one that passed. */
  readonly passed?: DrillRecord
}

/** pgts's own metrics about drills. A stanza without drills has no series. */
export function drillFamilies(drilled: readonly Drilled[], nowSeconds: number): MetricFamily[] {
  const family = (suffix: string, help: string, value: (drills: Drilled) => number | undefined): MetricFamily => ({
    name: `pgts_drill_${suffix}`,
    help,
    labels: ['repo_key', 'stanza'],
    samples: drilled.flatMap((drills) => {
      const found = value(drills)
      return found === undefined ? [] : [{ labels: [String(drills.repoKey), drills.stanza], value: found }]
    }),
  })
  const age = (record: DrillRecord | undefined) =>
    record === undefined ? undefined : Math.max(0, nowSeconds - Math.floor(record.startedMs / 1000))
  const seconds = (ms: number | undefined) => (ms === undefined ? undefined : ms / 1000)
  return [
    family('last_passed', 'Did the last drill prove that its backup restores.', ({ last }) =>
      Number(last.result === 'passed'),
    ),
    family('since_last_seconds', 'Seconds since the last drill began.', ({ last }) => age(last)),
    family('since_passed_seconds', 'Seconds since the last drill that passed began.', ({ passed }) => age(passed)),
    family('restore_seconds', 'Duration of the restore in the last drill that passed.', ({ passed }) =>
      seconds(passed?.durations.restoreMs),
    ),
    family('recovery_seconds', 'Duration of the recovery in the last drill that passed.', ({ passed }) =>
      seconds(passed?.durations.recoveryMs),
    ),
  ]
}
