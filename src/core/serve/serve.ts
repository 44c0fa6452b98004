import { hostname } from 'node:os'
import { accept } from '../../remote/connect.ts'
import type { Channel } from '../../remote/channel.ts'
import type { Connection, Handler, SilenceLimits } from '../../remote/connection.ts'
import { onCall } from '../../remote/handlers.ts'
import { openVerb, type OpenAnswer, type OpenRequest } from '../../remote/open.ts'
import { bytesToText, type Text } from '../../util/byte-string.ts'
import { PgtsError } from '../../util/error.ts'
import { rankOf, silentLogger, type LogFields, type Logger, type MessageLevel } from '../../util/log.ts'
import { joinWriters } from '../../util/lock-writers.ts'
import { repoId } from '../../util/repo-id.ts'
import type { ClusterAccess } from '../../postgres/cluster-access.ts'
import type { Executor } from '../../worker/executor.ts'
import type { jobHandlers } from '../jobs.ts'
import type { Repository } from '../repository.ts'
import { cipherHandler } from './cipher-verb.ts'
import { clusterService, type ClusterService } from './cluster-verbs.ts'
import { assertBelow } from './cluster-paths.ts'
import { limited, type Limits } from './limited.ts'
import { ServedLocks } from './lock-verbs.ts'
import { jobService, type JobService } from './run-jobs.ts'
import { membersOf, storageVerbs } from './storage-verbs.ts'

/** What a process serves, in the configuration of its own host. */
export interface ServingContext extends AsyncDisposable {
  /** '' for commands without one. */
  readonly stanza: string
  readonly lockPath: string
  /** The command holds the backup lock, which its first connection takes. */
  readonly isExclusive: boolean
  /** Absent: the other host has the rights of the account that serves it. */
  readonly limits?: Limits
  repositories(): Promise<readonly Repository[]>
  /** pg1 of this host. */
  cluster(): Promise<ClusterAccess>
  /** An executor on this thread, for jobs on a repository that is open in this thread only. */
  openExecutor(repository: Repository, bufferBytes: number): Promise<Executor<typeof jobHandlers>>
}

/** Decides what a connection may open. */
export interface ServingHost {
  /**
   * @param log its records are sent to the other host
   * @throws PgtsError access if the other host has no rights to what it requests
   */
  contextFor(request: OpenRequest, log: Logger): Promise<ServingContext>
}

/** Until the request `open` gives shorter limits. */
export interface ServeOptions extends SilenceLimits {
  /** Aborted when this process is terminated. */
  readonly signal: AbortSignal
  /** The connection has ended; its requests may still run. */
  readonly onEnd?: () => void
}

/** A connection that is served. */
export interface Served {
  /** Resolves when the connection has ended and everything it opened is closed. Never rejects. */
  readonly ended: Promise<void>
  /** Ends the connection as soon as it has no request and no lock. */
  closeWhenIdle(reason: string): void
}

/** Serves one connection of another pgts until it ends. Rejects if the other end does not complete the greeting. */
export async function serve(channel: Channel, host: ServingHost, options: ServeOptions): Promise<Served> {
  const session = new Session(host, options)
  const { ioTimeoutMs, protocolTimeoutMs } = options
  const connection = await accept(channel, {
    ioTimeoutMs,
    protocolTimeoutMs,
    handlers: [session.openHandler()],
    opensWith: openVerb.name,
  })
  session.run(connection, options)
  return session
}

/** Details and above: the other end has its own levels. */
function logOver(connection: Connection): Logger {
  const write = (level: MessageLevel) => (first: Text | LogFields, second?: Text) =>
    connection.log({ level, message: typeof first === 'string' ? first : (second ?? '') })
  return {
    ...silentLogger,
    error: write('error'),
    warn: write('warn'),
    info: write('info'),
    detail: write('detail'),
    enabled: (level) => rankOf(level) <= rankOf('detail'),
  }
}

/** Locks and backup mode end in the time after which the caller has given up this process. */
function shorter(asked: SilenceLimits, own: SilenceLimits): SilenceLimits {
  return {
    ioTimeoutMs: Math.min(asked.ioTimeoutMs, own.ioTimeoutMs),
    protocolTimeoutMs: Math.min(asked.protocolTimeoutMs, own.protocolTimeoutMs),
  }
}

interface Opened {
  readonly answer: OpenAnswer
  readonly handlers: readonly Handler[]
}

async function openRepository(key: number, { limits, repositories }: ServingContext): Promise<Opened> {
  const repository = (await repositories()).find((one) => one.key === key)
  if (repository === undefined) throw new PgtsError('protocol', `${repoId(key)} is not configured on ${hostname()}`)
  const storage = limits === undefined ? repository.storage : limited(repository.storage, limits)
  const { display, parallel } = storage
  return {
    answer: { host: hostname(), display, members: membersOf(storage), parallel },
    handlers: [...storageVerbs(storage), cipherHandler(repository)],
  }
}

class Session implements Served {
  ended: Promise<void> = Promise.resolve()
  readonly #host: ServingHost
  readonly #limits: SilenceLimits
  readonly #signal: AbortSignal
  #connection: Connection | undefined
  #context: ServingContext | undefined
  #locks: ServedLocks | undefined
  #cluster: ClusterService | undefined
  #writer: Disposable | undefined
  #jobs: JobService | undefined
  /** Number of requests that have not been answered. */
  #requests = 0
  #closing: string | undefined

  constructor(host: ServingHost, options: ServeOptions) {
    this.#host = host
    this.#limits = options
    this.#signal = options.signal
  }

  run(connection: Connection, { signal, onEnd }: ServeOptions): void {
    this.#connection = connection
    if (onEnd !== undefined) connection.signal.addEventListener('abort', onEnd, { once: true })
    const onAbort = () => void this.#terminate()
    signal.addEventListener('abort', onAbort, { once: true })
    if (signal.aborted) onAbort()
    this.ended = connection.ended.then(async () => {
      signal.removeEventListener('abort', onAbort)
      await this.#jobs?.[Symbol.asyncDispose]()
      await this.#cluster?.[Symbol.asyncDispose]()
      await this.#locks?.[Symbol.asyncDispose]()
      await this.#context?.[Symbol.asyncDispose]()
      this.#writer?.[Symbol.dispose]()
    })
  }

  openHandler(): Handler {
    return onCall(openVerb, async (request, { connection }) => {
      if (this.#context !== undefined) throw new PgtsError('protocol', 'a connection can only be opened once')
      const context = (this.#context = await this.#host.contextFor(request, logOver(connection)))
      connection.limitSilence(shorter(request, this.#limits))
      const { answer, handlers } = await this.#open(request, context, connection)
      connection.serve(handlers.map((handler) => this.#counted(handler)))
      return answer
    })
  }

  async #open(request: OpenRequest, context: ServingContext, connection: Connection): Promise<Opened> {
    const { kind, key, process, execId } = request
    const { answer, handlers } =
      kind === 'pg' ? await this.#openCluster(context, connection) : await openRepository(key, context)
    const { lockPath, stanza, isExclusive } = context
    if (process !== 0) {
      if (kind === 'repo' && isExclusive) this.#writer = await joinWriters(lockPath, stanza, key)
      return { answer, handlers }
    }
    this.#locks = new ServedLocks({ lockPath, stanza, execId, signal: this.#signal })
    return { answer, handlers: [...handlers, ...this.#locks.handlers()] }
  }

  async #openCluster(context: ServingContext, connection: Connection): Promise<Opened> {
    const cluster = await context.cluster()
    this.#cluster = clusterService(cluster)
    const answer = { host: hostname(), display: bytesToText(cluster.pgPath), members: [] }
    this.#jobs = jobService(connection, {
      openExecutor: (repository, bufferBytes) => context.openExecutor(repository, bufferBytes),
      assertPath: (path) => assertBelow(cluster.pgPath, path),
    })
    return { answer, handlers: [...this.#cluster.handlers, ...this.#jobs.handlers] }
  }

  #counted(handler: Handler): Handler {
    return {
      ...handler,
      serve: async (request) => {
        this.#requests++
        try {
          await handler.serve(request)
        } finally {
          this.#requests--
          this.#closeIfIdle()
        }
      },
    }
  }

  closeWhenIdle(reason: string): void {
    this.#closing ??= reason
    this.#closeIfIdle()
  }

  /** The request `held` is pending while locks are held. */
  #closeIfIdle(): void {
    const isBusy = this.#requests > 0 || this.#cluster?.isBusy === true
    if (this.#closing !== undefined && !isBusy) void this.#connection?.bye(this.#closing)
  }

  /** The answer to `held` comes first: the command then ends with [063]. */
  async #terminate(): Promise<void> {
    await new Promise(setImmediate)
    await this.#connection?.bye(`the process on ${hostname()} was terminated`)
  }
}
