import type { RecoverableWindow } from '../../core/window/read.ts'
import { zonedDateTime } from '../../util/local-time.ts'

const INDENT = '            '
const WIDTH = 64
const MOST_GAPS = 8

/** The points in time that a restore can reach, with a line drawn to scale. At most 80 columns. */
export function windowText(window: RecoverableWindow, repository: string | undefined): string {
  const { timeline } = window
  const where = [...(repository === undefined ? [] : [repository]), `timeline ${timeline}`].join(', ')
  const lines = windowLines(window)
  return `        recovery window (${where}):\n${lines.map((line) => `${INDENT}${line}\n`).join('')}`
}

/** @param width columns of the drawing without its ends */
export function windowLines(window: RecoverableWindow, width = WIDTH): string[] {
  const { gaps, unscanned } = window
  return [
    rangeText(window),
    ...drawing(window, width),
    ...gaps.slice(0, MOST_GAPS).flatMap(gapLines),
    ...(gaps.length > MOST_GAPS ? [`${gaps.length - MOST_GAPS} more gaps: see --output=json`] : []),
    ...(unscanned === 0 ? [] : [`commit times unknown: ${unscanned} segments`]),
  ]
}

function rangeText({ from, to }: RecoverableWindow): string {
  if (to === undefined) return `${startText(from)}: no later commit is archived`
  return `${startText(from)} to ${endText(to)}`
}

function gapLines({ from, to, first, last, missing }: RecoverableWindow['gaps'][number]): string[] {
  const range = `gap: ${endText(from)} to ${to === undefined ? 'the end' : endText(to)}`
  if (first === undefined || last === undefined) return [range]
  return [range, missing === 1 ? `  missing: ${first}` : `  missing: ${first} to ${last}`]
}

/** The first whole second that can be reached. @param micros since 1970 */
export function startText(micros: number): string {
  return zonedDateTime(Math.ceil(micros / 1_000_000))
}

/** The last whole second that can be reached: the time itself cannot. */
export function endText(micros: number): string {
  return zonedDateTime(Math.ceil(micros / 1_000_000) - 1)
}

/** `|=====...====|`: every gap has at least one character, and so has what is between two gaps. */
function drawing({ from, to, gaps }: RecoverableWindow, width: number): string[] {
  if (to === undefined && gaps.length === 0) return []
  const end = Math.max(to ?? from, ...gaps.map((gap) => gap.to ?? gap.from))
  const at = (time: number) => (end <= from ? 0 : Math.min(width, Math.round(((time - from) / (end - from)) * width)))
  const cells = Array.from({ length: width }, () => '=')
  for (const gap of gaps) {
    const first = Math.min(at(gap.from), width - 1)
    cells.fill('.', first, Math.max(first + 1, at(gap.to ?? end)))
  }
  return [`|${cells.join('')}|`]
}
