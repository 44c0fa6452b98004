import { setMaxListeners } from 'node:events'
import { parentPort, workerData, type MessagePort } from 'node:worker_threads'
import { EXIT_CODES, messageOf, PgtsError, toPlainError } from '../util/error.ts'
import { LOG_LEVELS, type Logger, type LogMethod, type MessageLevel } from '../util/log.ts'
import { buildId } from '../util/version.ts'
import type { JobHandlers } from './executor.ts'
import { withRetries } from './retry.ts'
import { RunFlags, type Answer, type FromWorker, type JobMessage, type ToWorker, type WorkerStart } from './protocol.ts'

/** Jobs shorter than this are answered together. */
const POST_INTERVAL_MS = 1

/** What a worker opens once. */
export interface WorkerEnvironment extends AsyncDisposable {
  /**
   * Present where jobs wait for a network: one job runs in each lane at the same time and gets that lane instead of the
   * environment. Closing the environment closes its lanes.
   */
  readonly lanes?: readonly unknown[]
}

type LoadHandlers = (setup: never) => Promise<JobHandlers>
type OpenEnvironment = (
  setup: never,
  log: Logger,
  ports: ReadonlyMap<number, MessagePort>,
) => Promise<WorkerEnvironment>

/**
 * Serve jobs in this worker thread: open the environment with the first job, run one job at a time (or one in each
 * lane), answer, until the main thread sends `close`.
 */
export function serveJobs(loadHandlers: LoadHandlers, openEnv: OpenEnvironment): void {
  const port = parentPort
  if (port === null) throw new PgtsError('assert', 'the worker entry was started outside a worker thread')
  // The exit code when the thread ends without `close`, see begin(). Node's own would be 0.
  process.exitCode = EXIT_CODES.assert
  const server = new JobServer(port, workerData as WorkerStart, loadHandlers, openEnv)
  port.on('message', (message: ToWorker) => server.receive(message))
}

/** Tests run a built worker from the source, which has no build id. */
function refuseOtherBuild(build: string | undefined): void {
  if (build === undefined || buildId === undefined || build === buildId) return
  throw new PgtsError('execute', 'pgts was replaced by another build while this command ran', {
    hints: ['run the command again'],
  })
}

interface Opened {
  readonly handlers: JobHandlers
  readonly env: WorkerEnvironment
}

class JobServer {
  readonly #port: MessagePort
  readonly #start: WorkerStart
  readonly #open: () => Promise<Opened>
  readonly #log: Logger
  readonly #flags: RunFlags
  readonly #answers: Answers
  readonly #queue: JobMessage[] = []
  readonly #controllers = new Map<number, AbortController>()
  #opened: Promise<Opened> | undefined
  /** Lanes without a job; known when the environment is open. */
  #idle: number[] | undefined
  #lanes = 1

  constructor(port: MessagePort, start: WorkerStart, loadHandlers: LoadHandlers, openEnv: OpenEnvironment) {
    const send = (message: FromWorker) => port.postMessage(message)
    this.#port = port
    this.#start = start
    this.#log = forwardingLogger(start, send)
    this.#flags = new RunFlags(start.flags)
    this.#answers = new Answers(send)
    this.#open = async () => {
      refuseOtherBuild(start.build)
      const setup = start.setup as never
      return { handlers: await loadHandlers(setup), env: await openEnv(setup, this.#log, start.ports) }
    }
  }

  receive(message: ToWorker): void {
    switch (message.type) {
      case 'jobs':
        this.#queue.push(...message.jobs)
        if (this.#idle !== undefined) this.#fillLanes(this.#idle)
        else if (this.#opened === undefined) void this.#begin()
        break
      case 'open':
        if (this.#opened === undefined) void this.#begin()
        break
      case 'abort':
        abort(this.#controllers.get(message.run))
        break
      case 'close':
        void this.#close()
        break
    }
  }

  async #begin(): Promise<void> {
    // While there is work, messages do not keep this thread alive. So it ends if a job can never finish, and the main
    // thread reports the job as failed instead of waiting for its answer forever.
    this.#port.unref()
    this.#opened = this.#open()
    // If opening fails, every job reports that error.
    const opened = await this.#opened.catch(() => undefined)
    this.#lanes = opened?.env.lanes?.length ?? 1
    const idle = Array.from({ length: this.#lanes }, (_, lane) => lane)
    this.#idle = idle
    this.#fillLanes(idle)
    if (idle.length === this.#lanes) this.#port.ref()
  }

  #fillLanes(idle: number[]): void {
    if (idle.length === this.#lanes) this.#answers.restartTimer()
    while (this.#queue.length > 0) {
      const lane = idle.pop()
      if (lane === undefined) return
      this.#port.unref()
      void this.#work(lane, idle)
    }
  }

  async #work(lane: number, idle: number[]): Promise<void> {
    const queue = this.#queue
    for (let message = queue.shift(); message !== undefined; message = queue.shift())
      this.#answers.add(await this.#run(message, lane), queue.length === 0)
    idle.push(lane)
    if (idle.length < this.#lanes) return
    this.#controllers.clear()
    this.#port.ref()
  }

  async #run({ id, run, kind, job }: JobMessage, lane: number): Promise<Answer> {
    const isDropped = () => this.#flags.isDropped(run)
    if (isDropped()) return { id, dropped: true }
    try {
      const { handlers, env } = await (this.#opened as Promise<Opened>)
      // Opening can be slow; the run may have been cancelled in the meantime.
      if (isDropped()) return { id, dropped: true }
      const handler = handlers[kind]
      if (handler === undefined) throw new PgtsError('assert', `no handler is known for jobs of kind ${kind}`)
      const controller = this.#controllers.get(run) ?? watchedController(run, this.#flags)
      this.#controllers.set(run, controller)
      const { signal } = controller
      const attempt = () => handler(job, env.lanes?.[lane] ?? env, signal)
      const { retry } = this.#start
      return { id, result: await withRetries(attempt, { retry, kind, log: this.#log, signal, isDropped }) }
    } catch (error) {
      return { id, error: toPlainError(error) }
    }
  }

  async #close(): Promise<void> {
    try {
      // If opening failed, the jobs have failed with that error, and there is nothing to close.
      const opened = await this.#opened?.catch(() => undefined)
      await opened?.env[Symbol.asyncDispose]()
    } catch (error) {
      this.#log.warn(`worker ${this.#start.worker} could not be closed cleanly: ${messageOf(error)}`)
    }
    process.exitCode = 0
    for (const attached of this.#start.ports.values()) attached.close()
    this.#port.close()
  }
}

/** Collects the answers of short jobs and sends them together. */
class Answers {
  readonly #send: (message: FromWorker) => void
  #pending: Answer[] = []
  #sinceMs = 0

  constructor(send: (message: FromWorker) => void) {
    this.#send = send
  }

  /** The worker was idle until now. */
  restartTimer(): void {
    this.#sinceMs = performance.now()
  }

  /** @param isLast nothing else is queued */
  add(answer: Answer, isLast: boolean): void {
    this.#pending.push(answer)
    const now = performance.now()
    const busyMs = now - this.#sinceMs
    if (!isLast && busyMs <= POST_INTERVAL_MS) return
    postAnswers(this.#send, this.#pending, busyMs)
    this.#pending = []
    this.#sinceMs = now
  }
}

/** A result that cannot be copied to the other thread is that job's error, not the end of the worker. */
function postAnswers(send: (message: FromWorker) => void, answers: Answer[], busyMs: number): void {
  try {
    send({ type: 'answers', answers, busyMs })
  } catch {
    for (const answer of answers) {
      try {
        send({ type: 'answers', answers: [answer], busyMs: busyMs / answers.length })
      } catch (error) {
        send({ type: 'answers', answers: [{ id: answer.id, error: toPlainError(error) }], busyMs })
      }
    }
  }
}

/**
 * A signal that shows an abort without running the event loop: a synchronous job checks `aborted` between two chunks,
 * and that reads shared memory.
 */
function watchedController(run: number, flags: RunFlags): AbortController {
  const controller = new AbortController()
  const { signal } = controller
  // Every request of every job of the run adds a listener; Node would warn of a leak on stderr.
  setMaxListeners(0, signal)
  const native = Object.getOwnPropertyDescriptor(AbortSignal.prototype, 'aborted')!.get!
  const isAborted = (): boolean => {
    if (!native.call(signal) && flags.isAborted(run)) abort(controller)
    return native.call(signal) as boolean
  }
  Object.defineProperties(signal, {
    aborted: { get: isAborted },
    throwIfAborted: {
      value: () => {
        if (isAborted()) throw signal.reason
      },
    },
  })
  return controller
}

/** The main thread reports the actual reason. */
function abort(controller: AbortController | undefined): void {
  controller?.abort(new PgtsError('term', 'the run was aborted'))
}

function forwardingLogger(start: WorkerStart, send: (message: FromWorker) => void): Logger {
  const wanted = new Set<string>(start.levels)
  const method = (level: MessageLevel): LogMethod => {
    if (!wanted.has(level)) return () => undefined
    return (first: unknown, second?: string) => {
      const fields = typeof first === 'string' ? {} : (first as object)
      const message = typeof first === 'string' ? first : (second ?? '')
      try {
        send({ type: 'log', level, fields: { process: start.worker, ...fields }, message })
      } catch {
        // A field cannot be copied: the message is sent without its fields.
        send({ type: 'log', level, fields: { process: start.worker }, message })
      }
    }
  }
  const methods = Object.fromEntries(
    LOG_LEVELS.filter((level) => level !== 'off').map((level) => [level, method(level)]),
  ) as Record<MessageLevel, LogMethod>
  return { ...methods, enabled: (level) => wanted.has(level) }
}
