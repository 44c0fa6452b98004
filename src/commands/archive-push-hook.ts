import { isoTime } from '../core/hooks/hook-event.ts'
import { PgtsError } from '../util/error.ts'
import { outageFiles } from './archive-push/outage.ts'
import type { CommandContext } from './context.ts'
import { callHook } from './shared/call-hook.ts'

const STATES = ['begun', 'continues', 'ended'] as const

/** `archive-push:hook`: runs `hook-archive-failure` in a process of its own, so that PostgreSQL does not wait for it. */
export async function archivePushHook(ctx: CommandContext<'archive-push'>): Promise<void> {
  const state = STATES.find((name) => name === ctx.parameters[0])
  if (state === undefined) throw new PgtsError('param-invalid', `archive-push:hook needs one of ${STATES.join(', ')}`)
  const files = outageFiles(ctx)
  // It may have ended since this process was started.
  const outage = (state === 'ended' ? undefined : files.read()) ?? files.read(true)
  if (outage === undefined) throw new PgtsError('file-missing', 'no outage of archiving is noted')
  const { sinceMs, failures, file, error } = outage
  const members = { state, since: isoTime(sinceMs), failures, file, error }
  await callHook(ctx, 'archive-failure', ctx.options.hookArchiveFailure, members)
}
