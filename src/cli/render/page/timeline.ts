import type { InfoArchive, InfoBackup } from '../../../core/info/report.ts'
import type { RecoverableWindow } from '../../../core/window/read.ts'
import { endText, startText } from '../info-window-text.ts'
import { about, backupTable, radiusFor, TYPE_LEGEND } from './backups.ts'
import { html, type Markup } from './markup.ts'
import { bar, figure, marker, PLOT } from './plot.ts'
import { timeScale, type Scale } from './scale.ts'

const LANE = 22
const TOP = 20
const WINDOW_HEIGHT = 12
const MICROS = 1_000_000

/** The backups of one repository in time, each chain in a line, and below them the recoverable window with its gaps. */
export function timeline(
  id: string,
  backups: readonly InfoBackup[],
  archives: readonly InfoArchive[],
  now: number,
): Markup {
  const windows = archives.flatMap(({ window }) => (window === undefined ? [] : [window]))
  const starts = [...backups.map(({ timestampStart }) => timestampStart), ...windows.map(({ from }) => from / MICROS)]
  const x = timeScale([Math.min(...starts), now], [PLOT.left, PLOT.right - 6])
  const radius = radiusFor(backups.length)
  const lanes = packed(chainsOf(backups), x, 3 * radius)
  const windowTop = TOP + lanes.length * LANE + 4
  return figure({
    id,
    title: 'Backups and the recoverable window',
    description: `${backups.length} backups on a time axis. ${windows.map(windowSentence).join(' ')}`,
    bottom: windowTop + windows.length * (WINDOW_HEIGHT + 6) + 2,
    x,
    marks: [
      ...lanes.flatMap((lane, index) => lane.flatMap((chain) => chainMarks(chain, x, TOP + index * LANE, radius))),
      ...windows.flatMap((window, index) => windowMarks(window, x, windowTop + index * (WINDOW_HEIGHT + 6))),
    ],
    legend: [
      ...TYPE_LEGEND,
      ...(windows.length === 0 ? [] : [{ kind: 'window', text: 'can be reached' }]),
      ...(windows.some(({ gaps }) => gaps.length > 0) ? [{ kind: 'gap', text: 'gap: WAL is missing' }] : []),
    ],
    table: backupTable(backups),
  })
}

type Chain = readonly [InfoBackup, ...InfoBackup[]]

/** A full backup and those that depend on it, oldest first. */
function chainsOf(backups: readonly InfoBackup[]): Chain[] {
  const chains = new Map<string, [InfoBackup, ...InfoBackup[]]>()
  for (const backup of backups) {
    const full = backup.label.split('_', 1)[0]!
    const chain = chains.get(full)
    if (chain === undefined) chains.set(full, [backup])
    else chain.push(backup)
  }
  return [...chains.values()]
}

/** Chains that do not overlap share a line. */
function packed(chains: readonly Chain[], x: Scale, margin: number): Chain[][] {
  const lanes: { end: number; readonly chains: Chain[] }[] = []
  for (const chain of chains) {
    const start = x.at(chain[0].timestampStop)
    const end = x.at(chain.at(-1)!.timestampStop)
    const free = lanes.find((lane) => lane.end + margin <= start)
    if (free === undefined) lanes.push({ end, chains: [chain] })
    else {
      free.chains.push(chain)
      free.end = end
    }
  }
  return lanes.map((lane) => lane.chains)
}

function chainMarks(chain: Chain, x: Scale, y: number, radius: number): Markup[] {
  const [start, end] = [x.at(chain[0].timestampStop), x.at(chain.at(-1)!.timestampStop)]
  return [
    html`<line class="chain" x1="${start}" x2="${end}" y1="${y}" y2="${y}" />`,
    ...chain.flatMap((backup) => {
      const at = x.at(backup.timestampStop)
      return [
        marker(backup.type, at, y, radius, about(backup)),
        ...(backup.pin === undefined ? [] : [html`<path class="pin" d="M${at} ${y - radius}v-6" />`]),
        ...(backup.error === true ? [html`<circle class="error" cx="${at}" cy="${y}" r="${radius + 3}" />`] : []),
      ]
    }),
  ]
}

function windowMarks({ from, to, gaps }: RecoverableWindow, x: Scale, y: number): Markup[] {
  const at = (micros: number) => x.at(micros / MICROS)
  const box = (start: number, end: number) => ({
    x: at(start),
    y,
    width: Math.max(2, at(end) - at(start)),
    height: WINDOW_HEIGHT,
  })
  const end = to ?? from
  return [
    bar('window', box(from, end), `${rangeText(from, to)} can be reached`),
    ...gaps.map((gap) => bar('gap', box(gap.from, gap.to ?? end), `gap: ${rangeText(gap.from, gap.to)}`)),
  ]
}

function windowSentence({ from, to, gaps }: RecoverableWindow): string {
  return `The window: ${rangeText(from, to)}, ${gaps.length === 0 ? 'without gaps' : `with ${gaps.length} gaps`}.`
}

function rangeText(from: number, to: number | undefined): string {
  return to === undefined ? `from ${startText(from)}` : `${startText(from)} to ${endText(to)}`
}
