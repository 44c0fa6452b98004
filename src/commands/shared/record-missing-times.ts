import { isAnyResident } from '../../core/archive/resident/resident-directory.ts'
import { spoolPaths } from '../../core/archive/spool/spool-files.ts'
import { livingPid } from '../../core/archive/spool/spool-lock.ts'
import type { Repository } from '../../core/repository.ts'
import { rebuildTimes } from '../../core/window/rebuild.ts'
import type { Executor } from '../../worker/executor.ts'
import type { jobHandlers } from '../../core/jobs.ts'
import type { ArchiveInfo } from '../../format/archive-info.ts'
import { isDenied, messageOf } from '../../util/error.ts'
import { programName } from '../../util/program-name.ts'
import { repoId } from '../../util/repo-id.ts'
import type { CommandContext } from '../context.ts'

/** What one backup or expire reads at most. `verify` reads everything. */
const MOST_SEGMENTS = 256
const MOST_MS = 60_000
/**
 * A process that pushes in the background records what it has archived after 10 s. Reading these segments again would take more
 * time than everything else that expire does after a backup.
 */
const SETTLED_MS = 30_000

/**
 * Records the commit times of WAL that was archived without them, for the recovery window of info. Called when the work of
 * the command is done, with its lease: a failure is only logged.
 *
 * @param archiveInfo as this command has loaded it
 */
export async function recordMissingTimes(
  ctx: CommandContext<'backup'> | CommandContext<'expire'>,
  repository: Repository,
  archiveInfo: ArchiveInfo | Promise<ArchiveInfo>,
): Promise<void> {
  const { clock, log, signal, stanza } = ctx
  if (programName(ctx.program) !== 'pgts') return
  const { key } = repository
  let executor: Executor<typeof jobHandlers> | undefined
  try {
    const recorded = await rebuildTimes({
      repository,
      stanza,
      archiveInfo: await archiveInfo,
      openExecutor: async () => {
        ctx.progress.phase('recording commit times')
        return (executor ??= await ctx.executor([repository]))
      },
      settledMs: isPushing(ctx) ? clock.nowMs() - SETTLED_MS : undefined,
      mostSegments: MOST_SEGMENTS,
      deadlineMs: clock.nowMs() + MOST_MS,
      nowMs: () => clock.nowMs(),
      signal,
    })
    if (recorded > 0)
      log.detail({ repo: key }, `${repoId(key)}: commit times of ${recorded} archived WAL segments were recorded`)
  } catch (error) {
    signal.throwIfAborted()
    // Credentials that may not replace files are a choice of the operator.
    log[isDenied(error) ? 'detail' : 'warn'](
      { repo: key },
      `${repoId(key)}: cannot record the commit times of archived WAL: ${messageOf(error)}`,
    )
  } finally {
    await executor?.[Symbol.asyncDispose]()
  }
}

/** Does a process of pgts on this host push WAL of the stanza, in the background or for archive_command? */
function isPushing({ options, stanza }: CommandContext<'backup'> | CommandContext<'expire'>): boolean {
  if (!('spoolPath' in options)) return false
  const spool = spoolPaths(options.spoolPath ?? '', stanza)
  return livingPid(spool, 'push') !== undefined || isAnyResident(spool, 'push')
}
