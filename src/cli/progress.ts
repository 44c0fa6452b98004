import type { ProgressDisplay } from '../commands/context.ts'
import type { RestorePlanReport } from '../core/restore/plan-report.ts'
import { printableLines } from '../util/byte-string.ts'
import { loadModule } from '../util/load-module.ts'
import type { TextOutput } from './log-output.ts'
import type { Bar, ProgressState } from './render/progress-bar.ts'

/** Short commands show no bar. */
const FIRST_MS = 1500
const EVERY_MS = 250

/**
 * A bar in the last line of the terminal on stderr, for a person who waits. What draws it is loaded with the first bar. Log lines are
 * written through `above`, which removes the bar before.
 */
export class TerminalProgress implements ProgressDisplay {
  readonly #enabled: boolean
  readonly #isTerminal: boolean
  #timer: NodeJS.Timeout | undefined
  #bar: Bar | undefined
  #state: (Omit<ProgressState, 'elapsedMs'> & { readonly startMs: number }) | undefined

  /** @param terminal `none` also where the operator wants no output; `plain` cannot move the cursor: it gets no bar */
  constructor(terminal: 'none' | 'plain' | 'full') {
    this.#enabled = terminal === 'full'
    this.#isTerminal = terminal !== 'none'
  }

  phase(name: string, total?: number, unit: ProgressState['unit'] = 'bytes'): void {
    if (!this.#enabled) return
    this.#state = { name, unit, total, done: 0, startMs: performance.now() }
    if (this.#timer !== undefined) return
    this.#timer = setTimeout(() => void this.#begin(), FIRST_MS)
    this.#timer.unref()
  }

  done(done: number, total?: number): void {
    if (this.#state !== undefined) this.#state = { ...this.#state, done, total: total ?? this.#state.total }
  }

  async plan(report: () => Promise<RestorePlanReport>): Promise<void> {
    if (!this.#isTerminal) return
    const { restoreSummary } = await loadModule(() => import('./render/restore-plan.ts'))
    this.#bar?.hide()
    process.stderr.write(printableLines(restoreSummary(await report())))
  }

  end(): void {
    this.#bar?.hide()
    clearTimeout(this.#timer)
    this.#state = this.#bar = undefined
  }

  /** Writes above the bar, which is drawn again with the next tick. */
  above<T extends TextOutput>(output: T): T {
    const write = (text: string) => {
      this.#bar?.hide()
      return output.write(text)
    }
    return Object.create(output, { write: { value: write } }) as T
  }

  async #begin(): Promise<void> {
    const { openBar } = await loadModule(() => import('./render/progress-bar.ts'))
    // The command may have ended while it was loaded.
    if (this.#state === undefined) return
    this.#bar = openBar(process.stderr)
    const draw = () => {
      const state = this.#state
      if (state !== undefined) this.#bar?.show({ ...state, elapsedMs: performance.now() - state.startMs })
    }
    draw()
    this.#timer = setInterval(draw, EVERY_MS)
    this.#timer.unref()
  }
}
