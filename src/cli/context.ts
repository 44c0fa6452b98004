import { setMaxListeners } from 'node:events'
import type { CommandContext, LauncherContext, WorkersWanted } from '../commands/context.ts'
import { commandLineFor } from '../config/begin-line.ts'
import { optionRow } from '../config/option-table.ts'
import { exposedWarning, type AnyResolved, type CommandName } from '../config/resolve.ts'
import type { LeaseRequest } from '../core/lease/lease.ts'
import { launchEnvironment } from '../core/archive/launcher/launch-hint.ts'
import { openRepository } from '../core/open-repository.ts'
import type { Repository, RepositoryDescription } from '../core/repository.ts'
import { archiveInfoName, backupInfoName, copyName } from '../format/repo-path.ts'
import { asBytes, decodeUtf8 } from '../util/byte-string.ts'
import { systemClock } from '../util/clock.ts'
import { loadModule } from '../util/load-module.ts'
import type { Logger } from '../util/log.ts'
import { markHandled } from '../util/mark-handled.ts'
import { Clusters } from './clusters.ts'
import { CommandLocks } from './command-locks.ts'
import { repositoryDescription } from './repository.ts'

/** Environment of a command. */
export interface Surroundings {
  readonly log: Logger
  /** Redact a secret that another host has sent in further log lines. */
  readonly learnSecret: (secret: string) => void
  readonly signal: AbortSignal
  readonly progress: CommandContext['progress']
  readonly env: Readonly<Record<string, string | undefined>>
  readonly cwd: string
  /** Absolute path of the program. */
  readonly program: string
  readonly continueAs: CommandContext['continueAs']
  /** The only repository to open. Default: the option repo. */
  readonly repoKey?: number
}

/** The context of a command; disposing it closes the repositories and the clusters. */
export interface OpenContext extends AsyncDisposable {
  readonly ctx: CommandContext
  readonly launcher: LauncherContext
}

export function openContext(resolved: AnyResolved, around: Surroundings): OpenContext {
  const { command, options, parameters, values, dialect } = resolved
  const { log, progress, env, cwd, program, continueAs } = around
  const lost = new AbortController()
  const signal = AbortSignal.any([around.signal, lost.signal])
  // Every request adds a listener; Node would report a leak on stderr.
  setMaxListeners(0, signal)
  const stanza = options.stanza ?? ''
  let repositories: Promise<readonly Repository[]> | undefined
  const { repoKey = options.repoKey } = around
  const selected = options.repo.filter(({ key }) => repoKey === undefined || key === repoKey)
  let descriptions: readonly RepositoryDescription[] | undefined
  const describe = () => (descriptions ??= selected.map((repo) => repositoryDescription(repo, resolved, env)))
  const openRepositories = () => (repositories ??= openAll(command, describe, around))
  const onLost = (reason: unknown) => lost.abort(reason)
  const clusters = new Clusters(resolved, { ...around, signal, repos: selected, onLost })
  const locks = new CommandLocks(resolved, { repos: selected, repositories: openRepositories, signal, onLost })
  const leases = new Leases({ command, stanza, log, signal }, locks, lost)

  const ctx = {
    command,
    options,
    dialect,
    stanza,
    log,
    clock: systemClock,
    signal,
    progress,
    parameters,
    env,
    cwd,
    program,
    continueAs,
    isSet: (option) => (values.get(option)?.source ?? 'default') !== 'default',
    configured: (option) => resolved.configured(option),
    stanzaHints: resolved.stanzaHints,
    commandLineFor: (other: CommandName) => commandLineFor(resolved, other, cwd),
    repositories: openRepositories,
    cluster: (index = 0) => clusters.get(index),
    executor: (used, wanted) => openExecutor(resolved, log, describe(), used, wanted),
    lock: () => locks.take(),
    lease: (repository) => leases.take(repository),
    confirm: (question) => confirmAtTerminal(question, signal),
    refuseWhenStopped: () => locks.refuseWhenStopped(),
  } as CommandContext

  return {
    ctx,
    launcher: launcherContext(resolved, around, describe),
    [Symbol.asyncDispose]: () => closeAll(repositories, clusters),
  }
}

async function openExecutor(
  { options }: AnyResolved,
  log: Logger,
  descriptions: readonly RepositoryDescription[],
  repositories: readonly Repository[],
  { most = Number.POSITIVE_INFINITY, cluster }: WorkersWanted = {},
): ReturnType<CommandContext['executor']> {
  const { openWorkers } = await loadModule(() => import('./workers.ts'))
  const remote = cluster?.remote
  return openWorkers({
    repositories,
    descriptions,
    cluster:
      remote === undefined
        ? { kind: 'local', versionForce: options.pgVersionForce }
        : { kind: 'remote', host: remote.description },
    connection: remote?.connection,
    workers: Math.min(options.processMax ?? 1, most),
    bufferBytes: options.bufferSize ?? 1024 * 1024,
    retry: { retries: options.jobRetry ?? 0, intervalMs: options.jobRetryInterval ?? 0 },
    log,
  })
}

async function confirmAtTerminal(question: string, signal: AbortSignal): Promise<string | undefined> {
  const { askTerminal } = await loadModule(() => import('./ask.ts'))
  return askTerminal(question, signal)
}

function launcherContext(
  resolved: AnyResolved,
  { env, cwd, program }: Surroundings,
  descriptions: LauncherContext['descriptions'],
): LauncherContext {
  const { command, options, configFiles, configLooked, callPattern, exposed, warnings } = resolved
  return {
    configFiles,
    get configuration() {
      const known = exposed.map(exposedWarning)
      return { files: configFiles, exposed, warnings: warnings.filter((warning) => !known.includes(warning)) }
    },
    configLooked,
    callPattern,
    descriptions,
    get environment() {
      const keys = options.repo.map(({ key }) => key)
      return launchEnvironment(env, program, keys)
    },
    get settings() {
      return settingsText(resolved)
    },
    get startedMs() {
      return performance.timeOrigin
    },
    startBackground: async (parameters, role = 'async') => {
      const { startBackground } = await loadModule(() => import('./background.ts'))
      const args = [...commandLineFor(resolved, command, cwd), `${command}:${role}`, '--', ...parameters]
      return startBackground({ program, args, env })
    },
  }
}

function settingsText({ values }: AnyResolved): string {
  const shown = [...values.values()].filter(
    ({ option, value }) => optionRow(option).secret !== true && value !== undefined,
  )
  const plain = (value: unknown) =>
    value instanceof Map ? [...value] : typeof value === 'bigint' ? `${value}n` : value
  return JSON.stringify(
    shown.map(({ name, value }) => [name, plain(value)] as const).sort(([a], [b]) => (a < b ? -1 : 1)),
  )
}

/** Concurrent requests of the main thread: for info files and listings, and for commands that transfer files. */
const CONNECTIONS = 2
const DATA_CONNECTIONS = 6
const DATA_COMMANDS: readonly CommandName[] = ['backup', 'drill', 'restore', 'verify']

async function openAll(
  command: CommandName,
  describe: () => readonly RepositoryDescription[],
  { log, learnSecret }: Surroundings,
): Promise<readonly Repository[]> {
  const connections = DATA_COMMANDS.includes(command) ? DATA_CONNECTIONS : CONNECTIONS
  const open = async (description: RepositoryDescription) => {
    const repository = await openRepository(description, log, connections)
    if (repository.cipher !== undefined && description.cipher === undefined)
      learnSecret(decodeUtf8(asBytes(repository.cipher.passphrase())))
    return repository
  }
  return Promise.all(describe().map(open))
}

/** Resources that could not be opened were reported by the command. */
async function closeAll(repositories: Promise<readonly Repository[]> | undefined, clusters: Clusters): Promise<void> {
  for (const { storage } of (await repositories?.catch(() => undefined)) ?? []) await storage[Symbol.asyncDispose]()
  await clusters[Symbol.asyncDispose]()
}

type LeaseRun = Pick<CommandContext, 'command' | 'stanza' | 'log' | 'signal'>

/** The leases of one command, by repository. A lease is taken only once. */
class Leases {
  readonly #run: LeaseRun
  readonly #locks: CommandLocks
  readonly #lost: AbortController
  readonly #held = new Set<number>()

  /** @param lost is aborted when a lease is lost */
  constructor(run: LeaseRun, locks: CommandLocks, lost: AbortController) {
    this.#run = run
    this.#locks = locks
    this.#lost = lost
  }

  async take(repository: Repository): Promise<AsyncDisposable> {
    const { key, storage } = repository
    const { command, stanza, signal } = this.#run
    if (this.#held.has(key)) return NOTHING_HELD
    // Without the stanza there is nothing that another host could change, and the command itself reports that it is
    // missing.
    // Both are requested at once, because each answer of a remote store is slow.
    const looked = loadModule(() => import('../core/lease/lease-store.ts')).then(({ lookForLease }) =>
      lookForLease(storage, stanza, signal),
    )
    markHandled(looked)
    if (command !== 'stanza-create' && !(await hasStanza(storage, stanza, signal))) return NOTHING_HELD
    const place = await this.#locks.placeOf(repository)
    const taken = await takeLeaseOf(repository, { ...this.#run, place }, looked, this.#lost)
    this.#held.add(key)
    return {
      [Symbol.asyncDispose]: async () => {
        this.#held.delete(key)
        await taken[Symbol.asyncDispose]()
      },
    }
  }
}

const NOTHING_HELD: AsyncDisposable = { async [Symbol.asyncDispose]() {} }

/** One request if the stanza exists. */
async function hasStanza(storage: Repository['storage'], stanza: string, signal: AbortSignal): Promise<boolean> {
  const names = [backupInfoName(stanza), archiveInfoName(stanza)]
  for (const name of [...names, ...names.map(copyName)])
    if ((await storage.stat(name, { signal })) !== undefined) return true
  return false
}

/** Loads its modules on demand: only commands that change backup.info use them. */
async function takeLeaseOf(
  repository: Repository,
  run: LeaseRun & Pick<LeaseRequest, 'place'>,
  looked: LeaseRequest['looked'],
  lost: AbortController,
): Promise<AsyncDisposable> {
  const [{ takeLease }, { hostname }] = await Promise.all([
    loadModule(() => import('../core/lease/lease.ts')),
    import('node:os'),
  ])
  return takeLease({
    ...run,
    repository,
    host: hostname(),
    pid: process.pid,
    token: await newToken(),
    clock: systemClock,
    looked,
    onLost: (reason) => lost.abort(reason),
  })
}

async function newToken(): Promise<string> {
  const { randomUUID } = await import('node:crypto')
  return randomUUID()
}
