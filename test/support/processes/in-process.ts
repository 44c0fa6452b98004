import { TerminalProgress } from '../../../src/cli/progress.ts'
import { openContext } from '../../../src/cli/context.ts'
import { commandRows } from '../../../src/cli/command-rows.ts'
import type { Outcome, RunRow } from '../../../src/cli/command-row.ts'
import type { CommandContext } from '../../../src/commands/context.ts'
import { resolveOptions, type CommandName } from '../../../src/config/resolve.ts'
import { jobHandlers } from '../../../src/core/jobs.ts'
import type { StorageDriver } from '../../../src/storage/driver.ts'
import { posixStorage } from '../../../src/storage/posix.ts'
import type { Clock } from '../../../src/util/clock.ts'
import { inlineExecutor } from '../../../src/worker/inline.ts'
import { recordingLog } from '../builders/wal.ts'
import { workerEnvWith } from '../builders/repository.ts'

export interface InProcess {
  readonly outcome: Outcome
  readonly lines: readonly string[]
}

/** The system's time, but a sleep ends at once and advances it: a backup waits for the next second. */
let aheadMs = 0
const impatientClock: Clock = {
  nowMs: () => Date.now() + aheadMs,
  async sleep(ms) {
    aheadMs += ms
  },
}

/**
 * One command from its arguments to its outcome in this process, so that a test can put a wrapper between the command and
 * its repository. Everything else is that of the program; jobs run on this thread, on the same storage.
 *
 * @param wrap returns the storage that the command gets instead of the plain storage of repo1
 * @param around `clock`: `systemClock` if a server takes part, because its time is real; `log`: to
 *   read the lines that were logged before an error
 */
export async function runInProcess(
  argv: readonly string[],
  repoPath: string,
  wrap: (storage: StorageDriver) => StorageDriver = (storage) => storage,
  env: Readonly<Record<string, string>> = {},
  { clock = impatientClock, log = recordingLog() }: { clock?: Clock; log?: ReturnType<typeof recordingLog> } = {},
): Promise<InProcess> {
  const resolved = await resolveOptions({ argv, env, program: '/usr/bin/pgts', uid: 1 })
  const signal = new AbortController().signal
  await using open = openContext(resolved, {
    log,
    learnSecret: () => undefined,
    signal,
    env: {},
    cwd: '/',
    program: '/usr/bin/pgts',
    progress: new TerminalProgress('none'),
    continueAs: () => undefined,
  })
  const storage = wrap(posixStorage(repoPath))
  const ctx: CommandContext = {
    ...open.ctx,
    clock,
    repositories: async () => (await open.ctx.repositories()).map((repository) => ({ ...repository, storage })),
    executor: async ([repository]) => inlineExecutor(jobHandlers, async () => workerEnvWith(repository!, 256 * 1024)),
  }
  const runRow = commandRows[resolved.command] as RunRow<CommandName>
  return { outcome: await runRow(ctx, open.launcher), lines: log.lines }
}
