import type { OptionsOf } from '../../../src/config/resolve.ts'
import type { CommandContext } from '../../../src/commands/context.ts'
import { jobHandlers } from '../../../src/core/jobs.ts'
import { posixStorage } from '../../../src/storage/posix.ts'
import { systemClock } from '../../../src/util/clock.ts'
import { LOG_LEVELS, type LogMethod, type Logger, type MessageLevel } from '../../../src/util/log.ts'
import { inlineExecutor } from '../../../src/worker/inline.ts'
import { workerEnvWith, repositoryWith } from './repository.ts'

/** Keeps every line, as `warn: sentence`. */
export function recordingLogger(): Logger & { readonly lines: string[] } {
  const lines: string[] = []
  const method =
    (level: string): LogMethod =>
    (fields: unknown, message?: string) =>
      void lines.push(`${level}: ${message ?? String(fields)}`)
  const methods = Object.fromEntries(LOG_LEVELS.slice(1).map((level) => [level, method(level)])) as Record<
    MessageLevel,
    LogMethod
  >
  return { ...methods, enabled: () => true, lines }
}

export interface RestoreRun {
  readonly repoPaths: readonly string[]
  readonly pgPath: string
  readonly spoolPath: string
  readonly stanza?: string
  readonly options?: Partial<OptionsOf<'restore'>>
  /** Arguments of the command line: `--type=none`, `--repo=1`. */
  readonly typed?: readonly string[]
  readonly signal?: AbortSignal
  /** pg1-path in the configuration; null: not set; default: the target. */
  readonly configured?: string | null
  /** Path of the program; default: /usr/bin/pgts. */
  readonly program?: string
  /** Repositories report that calls wait for a network. */
  readonly distant?: boolean
}

/** A command context over posix repositories, with jobs on this thread; locks are not taken. */
export function restoreContext(
  run: RestoreRun,
): CommandContext<'restore'> & { readonly log: ReturnType<typeof recordingLogger> } {
  const options = {
    checksumPageError: true,
    delta: false,
    force: false,
    type: 'default',
    set: 'latest',
    linkAll: false,
    archiveMode: 'preserve',
    spoolPath: run.spoolPath,
    pg: [{ key: 1, path: run.pgPath }],
    repo: run.repoPaths.map((path, index) => ({ key: index + 1, type: 'posix', path })),
    ...run.options,
  } as unknown as OptionsOf<'restore'>
  const repositories = run.repoPaths.map((path, index) => {
    const storage = run.distant === true ? Object.assign(posixStorage(path), { parallel: 4 }) : posixStorage(path)
    return repositoryWith(storage, { key: index + 1 })
  })
  return {
    command: 'restore',
    options,
    stanza: run.stanza ?? 'main',
    log: recordingLogger(),
    clock: systemClock,
    signal: run.signal ?? new AbortController().signal,
    progress: { phase: () => undefined, done: () => undefined, plan: async () => undefined },
    parameters: [],
    env: {},
    cwd: '/',
    program: run.program ?? '/usr/bin/pgts',
    configured: () => (run.configured === null ? undefined : (run.configured ?? run.pgPath)),
    isSet: (option) => (run.typed ?? []).some((argument) => argument.startsWith(`--${option}`)),
    dialect: 'ini',
    stanzaHints: [],
    commandLineFor: () => run.typed ?? [],
    repositories: () => Promise.resolve(repositories),
    cluster: () => Promise.reject(new Error('not in this test')),
    executor: async ([repository]) => inlineExecutor(jobHandlers, async () => workerEnvWith(repository!, 1024 * 1024)),
    lock: () => Promise.resolve({ update: () => undefined, [Symbol.asyncDispose]: () => Promise.resolve() }),
    confirm: async () => undefined,
    lease: async () => ({ async [Symbol.asyncDispose]() {} }),
    continueAs: () => undefined,
    refuseWhenStopped: () => Promise.resolve(),
  }
}
