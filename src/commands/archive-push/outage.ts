import { hookError } from '../../core/hooks/hook-event.ts'
import { OutageFiles, withFailure } from '../../core/hooks/outage.ts'
import { baseName } from '../../core/archive/find.ts'
import { removeLaunchHint } from '../../core/archive/launcher/launch-hint.ts'
import type { PushOutcome } from '../../core/archive/push/queue-limit.ts'
import { isReady } from '../../core/archive/push/ready-queue.ts'
import { bytesToText, parentOf, type ByteString } from '../../util/byte-string.ts'
import { messageOf, PgtsError } from '../../util/error.ts'
import type { CommandContext, LauncherContext } from '../context.ts'
import { resolveWalPath } from '../shared/wal-path.ts'

type Context = CommandContext<'archive-push'>

/**
 * Notes whether a call for a file that PostgreSQL waits for fails, and starts `hook-archive-failure` in a process of its own when an
 * outage begins, continues or ends. The call ends as it would without a hook.
 */
export async function withOutageHook(
  ctx: Context,
  launcher: LauncherContext,
  push: () => Promise<PushOutcome>,
): Promise<void> {
  let dropped: string | undefined
  try {
    ;({ dropped } = await push())
  } catch (error) {
    if (!ctx.signal.aborted) await quietly(ctx, () => noteFailure(ctx, launcher, error))
    throw error
  }
  // The archive has a gap now: PostgreSQL must not see a failure, the operator must.
  const failure = dropped === undefined ? undefined : new PgtsError('archive-timeout', dropped)
  await quietly(ctx, () => (failure === undefined ? noteSuccess(ctx, launcher) : noteFailure(ctx, launcher, failure)))
}

async function noteFailure(ctx: Context, launcher: LauncherContext, error: unknown): Promise<void> {
  const path = await waitingFile(ctx)
  if (path === undefined) return
  const files = outageFiles(ctx)
  const failure = { file: bytesToText(baseName(path)), error: hookError(error), nowMs: ctx.clock.nowMs() }
  const { outage, report } = withFailure(files.read(), failure)
  files.write(outage)
  // The next call must reach Node, which notices the end of the outage.
  await removeLaunchHint(ctx.options.pg[0]?.path ?? ctx.cwd, ctx.stanza, 'archive-push')
  if (report !== undefined) await launcher.startBackground([report], 'hook')
}

async function noteSuccess(ctx: Context, launcher: LauncherContext): Promise<void> {
  const files = outageFiles(ctx)
  if (!files.exists() || (await waitingFile(ctx)) === undefined || !files.end()) return
  await launcher.startBackground(['ended'], 'hook')
}

export function outageFiles({ options, stanza }: Context): OutageFiles {
  return new OutageFiles(options.spoolPath, options.lockPath, stanza)
}

/** The file of this call, if PostgreSQL waits for it: a failure with another file, by an operator, does not delay archiving. */
async function waitingFile({ options, parameters, cwd }: Context): Promise<ByteString | undefined> {
  const path = await resolveWalPath('archive-push', parameters[0] ?? '', options.pg[0]?.path, cwd)
  return isReady(parentOf(path), baseName(path)) ? path : undefined
}

async function quietly(ctx: Context, note: () => Promise<void>): Promise<void> {
  try {
    await note()
  } catch (error) {
    ctx.log.warn(`hook-archive-failure was not called: ${messageOf(error)}`)
  }
}
