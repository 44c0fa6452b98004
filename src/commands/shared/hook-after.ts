import { hookError, type HookError } from '../../core/hooks/hook-event.ts'
import type { CommandContext } from '../context.ts'

/** How a command ended. */
export interface Ended<Report> {
  readonly report?: Report
  readonly error?: HookError
  readonly durationMs: number
}

/** Calls a hook when `work` has ended, also if it has failed. */
export async function withHookAfter<Report>(
  { signal }: Pick<CommandContext, 'signal'>,
  work: () => Promise<Report>,
  hook: (ended: Ended<Report>) => Promise<unknown>,
): Promise<Report> {
  const startMs = performance.now()
  const durationMs = () => Math.round(performance.now() - startMs)
  let report: Report
  try {
    report = await work()
  } catch (error) {
    // An interrupted command can fail with any error; the abort reason is the actual one.
    const why = signal.aborted ? (signal.reason as unknown) : error
    await hook({ error: hookError(why), durationMs: durationMs() })
    throw error
  }
  await hook({ report, durationMs: durationMs() })
  return report
}
