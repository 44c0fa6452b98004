import { bytesToText } from '../../util/byte-string.ts'
import type { InfoReport, InfoStanza } from '../info/report.ts'
import type { RecoverableWindow } from '../window/read.ts'
import type { MetricFamily } from './family.ts'

/** pgts's own metrics about the recovery window of the current cluster. Unknown values have no series. */
export function windowFamilies(stanzas: InfoReport['stanzas']): MetricFamily[] {
  const found = stanzas.flatMap(currentWindows)
  const family = (suffix: string, help: string, valueOf: (window: RecoverableWindow) => number | undefined) => ({
    name: `pgts_window_${suffix}`,
    help,
    labels: ['repo_key', 'stanza'],
    samples: found.flatMap(({ labels, window }) => {
      const value = valueOf(window)
      return value === undefined ? [] : [{ labels, value }]
    }),
  })
  return [
    family('start_timestamp_seconds', 'First point in time that can be restored.', ({ from }) => seconds(from)),
    family('end_timestamp_seconds', 'Last archived commit: a restore can reach every moment before it.', ({ to }) =>
      to === undefined ? undefined : seconds(to),
    ),
    family(
      'gaps',
      'Periods within the window that cannot be restored, because WAL is missing.',
      ({ gaps }) => gaps.length,
    ),
    family('gap_seconds', 'Total length of these periods, as far as their ends are known.', ({ gaps }) =>
      seconds(gaps.reduce((sum, { from, to }) => sum + (to === undefined ? 0 : to - from), 0)),
    ),
    family(
      'unscanned_segments',
      'Archived WAL segments whose commit times are not known.',
      ({ unscanned }) => unscanned,
    ),
  ]
}

interface CurrentWindow {
  readonly labels: readonly string[]
  readonly window: RecoverableWindow
}

/** In each repository that of the newest cluster: those of clusters before an upgrade do not change any more. */
function currentWindows({ name, archives, repos }: InfoStanza): CurrentWindow[] {
  return repos.flatMap(({ key }) => {
    const ofRepo = archives.filter(({ repoKey }) => repoKey === key)
    const newest = Math.max(...ofRepo.map(({ historyId }) => historyId))
    const window = ofRepo.find(({ historyId }) => historyId === newest)?.window
    return window === undefined ? [] : [{ labels: [String(key), bytesToText(name)], window }]
  })
}

function seconds(micros: number): number {
  return micros / 1_000_000
}
