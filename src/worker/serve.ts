import { setMaxListeners } from 'node:events'
import { parentPort, workerData, type MessagePort } from 'node:worker_threads'
import { EXIT_CODES, PgtsError, toPlainError } from '../util/error.ts'
import { LOG_LEVELS, type Logger, type LogMethod, type MessageLevel } from '../util/log.ts'
import type { JobHandlers } from './executor.ts'
import { withRetries } from './retry.ts'
import { RunFlags, type Answer, type FromWorker, type JobMessage, type ToWorker, type WorkerStart } from './protocol.ts'

/** Answers are sent together when jobs are shorter than this. */
const POST_INTERVAL_MS = 1

/** What a worker opens once. */
export interface WorkerEnvironment extends AsyncDisposable {
  /**
   * Present where jobs wait for a network: as many jobs as there are lanes are under way at once, each gets one of them
   * instead of the whole. They are closed with the whole.
   */
  readonly lanes?: readonly unknown[]
}

/**
 * The life of a worker thread: open the environment with the first job, run one job at a time (or one in each lane),
 * answer, until told to close.
 */
export function serveJobs(
  loadHandlers: () => Promise<JobHandlers>,
  openEnv: (setup: never, log: Logger, port?: MessagePort) => Promise<WorkerEnvironment>,
): void {
  const port = parentPort
  if (port === null) throw new PgtsError('assert', 'the worker entry was started outside a worker thread')
  const start = workerData as WorkerStart
  // An end that nothing below has decided: see begin(). An entry that is empty ends with 0.
  process.exitCode = EXIT_CODES.assert
  const flags = new RunFlags(start.flags)
  const send = (message: FromWorker) => port.postMessage(message)
  const log = forwardingLogger(start, send)
  const queue: JobMessage[] = []
  const running = new Map<number, AbortController>()

  let opened: Promise<{ handlers: JobHandlers; env: WorkerEnvironment }> | undefined
  const open = async () => ({
    handlers: await loadHandlers(),
    env: await openEnv(start.setup as never, log, start.port),
  })

  async function answer({ id, run, kind, job }: JobMessage, lane: number): Promise<Answer> {
    if (flags.isDropped(run)) return { id, dropped: true }
    try {
      const { handlers, env } = await (opened as NonNullable<typeof opened>)
      // Opening took its time.
      if (flags.isDropped(run)) return { id, dropped: true }
      const handler = handlers[kind]
      if (handler === undefined) throw new PgtsError('assert', `no handler is known for jobs of kind ${kind}`)
      const controller = running.get(run) ?? watchedController(run, flags)
      running.set(run, controller)
      const { signal } = controller
      const attempt = () => handler(job, env.lanes?.[lane] ?? env, signal)
      const isDropped = () => flags.isDropped(run)
      return { id, result: await withRetries(attempt, { retry: start.retry, kind, log, signal, isDropped }) }
    } catch (error) {
      return { id, error: toPlainError(error) }
    }
  }

  let answers: Answer[] = []
  let since = 0
  const post = () => {
    const now = performance.now()
    if (answers.length > 0) postAnswers(send, answers, now - since)
    answers = []
    since = now
  }

  /** Lanes without a job; known when the environment is open. */
  let idle: number[] | undefined
  let lanes = 1
  async function begin(): Promise<void> {
    // While there is work, messages do not keep this thread alive. So it ends when nothing is left that a job waits for,
    // and the main thread reports that job instead of waiting for its answer for ever.
    port?.unref()
    opened = open()
    // What could not be opened is told by the first job, and by every other.
    const environment = await opened.catch(() => undefined)
    lanes = environment?.env.lanes?.length ?? 1
    idle = Array.from({ length: lanes }, (_, lane) => lane)
    fillLanes(idle)
    if (idle.length === lanes) port?.ref()
  }

  function fillLanes(free: number[]): void {
    if (free.length === lanes) since = performance.now()
    while (queue.length > 0) {
      const lane = free.pop()
      if (lane === undefined) return
      port?.unref()
      void work(lane, free)
    }
  }

  async function work(lane: number, free: number[]): Promise<void> {
    for (let message = queue.shift(); message !== undefined; message = queue.shift()) {
      const answered = await answer(message, lane)
      answers.push(answered)
      if (queue.length === 0 || performance.now() - since > POST_INTERVAL_MS) post()
    }
    free.push(lane)
    if (free.length < lanes) return
    running.clear()
    port?.ref()
  }

  port.on('message', (message: ToWorker) => {
    switch (message.type) {
      case 'jobs':
        queue.push(...message.jobs)
        if (idle !== undefined) fillLanes(idle)
        else if (opened === undefined) void begin()
        break
      case 'open':
        if (opened === undefined) void begin()
        break
      case 'abort':
        abort(running.get(message.run))
        break
      case 'close':
        void close()
        break
    }
  })

  async function close(): Promise<void> {
    try {
      // What could not be opened has failed its jobs, and needs no closing.
      const environment = await opened?.catch(() => undefined)
      await environment?.env[Symbol.asyncDispose]()
    } catch (error) {
      log.warn(`worker ${start.worker} could not be closed cleanly: ${toPlainError(error).message}`)
    }
    process.exitCode = 0
    start.port?.close()
    port?.close()
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
 * A signal that hears of an abort without a turn of the event loop: a job that reads, hashes and writes synchronously
 * asks `aborted` between two chunks, and is answered from shared memory.
 */
function watchedController(run: number, flags: RunFlags): AbortController {
  const controller = new AbortController()
  const { signal } = controller
  // Every request of every job of the run listens, and Node would take so many for a leak and say so on stderr.
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

/** The main thread knows the real reason and reports that. */
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
        // A field that cannot be copied; the sentence stands alone.
        send({ type: 'log', level, fields: { process: start.worker }, message })
      }
    }
  }
  const methods = Object.fromEntries(
    LOG_LEVELS.filter((level) => level !== 'off').map((level) => [level, method(level)]),
  ) as Record<MessageLevel, LogMethod>
  return { ...methods, enabled: (level) => wanted.has(level) }
}
