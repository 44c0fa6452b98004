import { hookEvent, type HookEvents, type HookName } from '../../core/hooks/hook-event.ts'
import { runHook, type HookResult } from '../../core/hooks/run-hook.ts'
import type { CommandContext } from '../context.ts'

/** After a signal, which is waited for. */
const INTERRUPTED_TIMEOUT_MS = 10_000

/**
 * Run a hook of a command, for example `callHook(ctx, 'backup-after', ctx.options.hookBackupAfter, { ... })`. Its failure is a
 * warning in the log.
 *
 * @param command the value of the option; undefined: there is no hook
 */
export async function callHook<N extends HookName>(
  ctx: Pick<CommandContext, 'env' | 'log' | 'clock' | 'stanza' | 'signal'> & {
    readonly options: { readonly hookTimeout: number }
  },
  name: N,
  command: string | undefined,
  members: HookEvents[N],
): Promise<HookResult | undefined> {
  if (command === undefined) return undefined
  const { env, log, clock, stanza, signal, options } = ctx
  const event = hookEvent(name, { stanza, nowMs: clock.nowMs() }, members)
  // A hook that reports an interrupted run is not interrupted itself; a second signal ends pgts.
  const limits = signal.aborted
    ? { timeoutMs: Math.min(options.hookTimeout, INTERRUPTED_TIMEOUT_MS) }
    : { timeoutMs: options.hookTimeout, signal }
  return runHook({ name, command, event, env, log, ...limits })
}
