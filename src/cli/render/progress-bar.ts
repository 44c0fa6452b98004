import { clearLine, cursorTo } from 'node:readline'
import { formatSize } from '../../util/format-size.ts'
import { duration } from './result.ts'

/** One phase of a command: `copying`. */
export interface ProgressState {
  readonly name: string
  readonly unit: 'bytes' | 'directories'
  readonly total?: number
  readonly done: number
  readonly elapsedMs: number
}

/** A line at the end of a terminal. */
export interface Bar {
  show(state: ProgressState): void
  hide(): void
}

export function openBar(terminal: NodeJS.WriteStream): Bar {
  // The cursor stays visible, so that a killed process leaves the terminal as it was.
  let isShown = false
  const hide = () => {
    if (!isShown) return
    clearLine(terminal, 0)
    cursorTo(terminal, 0)
    isShown = false
  }
  return {
    show: (state) => {
      hide()
      terminal.write(progressLine(state, terminal.columns || 80))
      isShown = true
    },
    hide,
  }
}

const BAR = 20
/** Before this a rate says nothing. */
const RATE_AFTER_MS = 1000

/**
 * `copying [########            ]  40% 4.1GB of 10.2GB, 120MB/s, 52s left`, as much of it as fits into one line.
 *
 * @param columns of the terminal
 */
export function progressLine(state: ProgressState, columns: number): string {
  const { name, unit, total, done, elapsedMs } = state
  const amount = (value: number) => (unit === 'bytes' ? formatSize(value) : String(value))
  // The last column stays free: some terminals wrap there.
  const room = columns - 1
  const parts: string[] = []
  if (total === undefined || total === 0) {
    if (done > 0) parts.push(amount(done))
    parts.push(duration(elapsedMs))
  } else {
    const share = Math.min(1, done / total)
    const full = Math.floor(share * BAR)
    const bar = `[${'#'.repeat(full)}${' '.repeat(BAR - full)}] ${String(Math.floor(share * 100)).padStart(3)}%`
    parts.push(`${bar} ${amount(done)} of ${amount(total)}${unit === 'bytes' ? '' : ` ${unit}`}`)
    if (done > 0 && elapsedMs >= RATE_AFTER_MS) {
      const rate = done / (elapsedMs / 1000)
      if (unit === 'bytes') parts.push(`${formatSize(Math.round(rate))}/s`)
      if (done < total) parts.push(`${duration(((total - done) / rate) * 1000)} left`)
    }
  }
  const line = parts.reduce((text, part, index) => {
    const longer = `${text}${index === 0 ? ' ' : ', '}${part}`
    return longer.length <= room ? longer : text
  }, name)
  return line.slice(0, room)
}
