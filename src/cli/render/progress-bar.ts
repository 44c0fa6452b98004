import { clearLine, cursorTo } from 'node:readline'
import { formatSize } from '../../util/format-size.ts'
import { duration } from './result.ts'

/** One phase of a command: `copying`. */
export interface ProgressState {
  readonly name: string
  readonly totalBytes?: number
  readonly doneBytes: number
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
  const { name, totalBytes, doneBytes, elapsedMs } = state
  // The last column stays free: some terminals wrap there.
  const room = columns - 1
  const parts: string[] = []
  if (totalBytes === undefined || totalBytes === 0) {
    if (doneBytes > 0) parts.push(formatSize(doneBytes))
    parts.push(duration(elapsedMs))
  } else {
    const share = Math.min(1, doneBytes / totalBytes)
    const full = Math.floor(share * BAR)
    const bar = `[${'#'.repeat(full)}${' '.repeat(BAR - full)}] ${String(Math.floor(share * 100)).padStart(3)}%`
    parts.push(`${bar} ${formatSize(doneBytes)} of ${formatSize(totalBytes)}`)
    if (doneBytes > 0 && elapsedMs >= RATE_AFTER_MS) {
      const rate = doneBytes / (elapsedMs / 1000)
      parts.push(`${formatSize(Math.round(rate))}/s`)
      if (doneBytes < totalBytes) parts.push(`${duration(((totalBytes - doneBytes) / rate) * 1000)} left`)
    }
  }
  const line = parts.reduce((text, part, index) => {
    const longer = `${text}${index === 0 ? ' ' : ', '}${part}`
    return longer.length <= room ? longer : text
  }, name)
  return line.slice(0, room)
}
