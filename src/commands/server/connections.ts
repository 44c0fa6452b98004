import type { Socket } from 'node:net'
import type { Logger } from '../../util/log.ts'
import type { FromConnection, ServerSettings } from './messages.ts'
import type { ConnectionProcess, StartConnection } from './ports.ts'

/** At once: a handshake, in its own process, costs more at this end than at the client's. */
const MOST_HANDSHAKES = 16
/** Open, in a handshake or waiting for one. */
const MOST_CONNECTIONS = 256
/** A process that ends before it is ready is started again after 1 s, then 2 s, and so on. */
const LONGEST_PAUSE_MS = 30_000
/** Commands of the other end need this long to clean up, at the most. */
const LEAVE_MS = 15_000

interface Pending {
  readonly socket: Socket
  readonly address: string
  /** Ends the connection if the client does not send a valid request in time. */
  readonly deadline: NodeJS.Timeout
}

interface Entry {
  state: 'starting' | 'spare' | 'handshake' | 'open' | 'late'
  process: ConnectionProcess
  pending?: Pending
  /** For the log. */
  what?: string
}

/** The processes of a server, each of which serves one connection; one more is running for the next connection. */
export class Connections {
  readonly #start: StartConnection
  readonly #log: Logger
  #settings: ServerSettings
  readonly #entries = new Set<Entry>()
  readonly #waiting: Pending[] = []
  #failedStarts = 0
  #pause: NodeJS.Timeout | undefined
  #closing: (() => void) | undefined

  constructor(start: StartConnection, settings: ServerSettings, log: Logger) {
    this.#start = start
    this.#settings = settings
    this.#log = log
    this.#advance()
  }

  /** @param socket of which nothing was read */
  take(socket: Socket): void {
    const address = socket.remoteAddress ?? 'an unknown address'
    if (this.#closing !== undefined) return void socket.destroy()
    if (this.#count() >= MOST_CONNECTIONS) {
      socket.destroy()
      this.#refused(address, `there are ${MOST_CONNECTIONS} connections`)
      return
    }
    const { ioTimeoutMs } = this.#settings
    const deadline = setTimeout(() => this.#expire(pending, ioTimeoutMs), ioTimeoutMs)
    const pending = { socket, address, deadline }
    // A socket that waits may break.
    socket.on('error', () => undefined)
    this.#waiting.push(pending)
    this.#advance()
  }

  /** New connections use these settings; those that archiving keeps end as soon as they have no work. */
  use(settings: ServerSettings): void {
    this.#settings = settings
    for (const { process } of this.#with('handshake', 'open')) process.send({ kind: 'close-when-idle' })
  }

  /** Ends all processes, which clean up first. */
  async close(): Promise<void> {
    const ended = new Promise<void>((resolve) => (this.#closing = resolve))
    clearTimeout(this.#pause)
    for (const pending of this.#waiting.splice(0)) this.#drop(pending)
    for (const entry of this.#entries) {
      if (entry.state === 'open') this.#log.warn(`ending the connection ${entry.what ?? ''}`)
      entry.process.kill('SIGTERM')
    }
    const kill = setTimeout(() => {
      for (const { process } of this.#entries) process.kill('SIGKILL')
    }, LEAVE_MS)
    if (this.#entries.size > 0) await ended
    clearTimeout(kill)
  }

  #count(): number {
    return this.#waiting.length + this.#with('handshake', 'open', 'late').length
  }

  #with(...states: Entry['state'][]): Entry[] {
    return [...this.#entries].filter(({ state }) => states.includes(state))
  }

  /** Gives waiting sockets to spare processes, and starts the processes that are needed. */
  #advance(): void {
    const free = MOST_HANDSHAKES - this.#with('handshake', 'late').length
    const handed = Math.min(free, this.#waiting.length)
    for (const entry of this.#with('spare').slice(0, handed)) {
      const pending = this.#waiting.shift()
      if (pending !== undefined) this.#hand(entry, pending)
    }
    if (this.#closing !== undefined || this.#pause !== undefined) return
    const left = MOST_HANDSHAKES - this.#with('handshake', 'late').length
    const wanted = 1 + Math.min(left, this.#waiting.length)
    for (let have = this.#with('starting', 'spare').length; have < wanted; have++) this.#startOne()
  }

  #hand(entry: Entry, pending: Pending): void {
    entry.state = 'handshake'
    entry.pending = pending
    entry.what = `from ${pending.address}`
    entry.process.send({ kind: 'connection', address: pending.address, settings: this.#settings }, pending.socket)
  }

  #startOne(): void {
    const process = this.#start({
      onMessage: (message) => this.#receive(entry, message),
      onEnd: (how) => this.#ended(entry, how),
    })
    const entry: Entry = { state: 'starting', process }
    this.#entries.add(entry)
  }

  #receive(entry: Entry, message: FromConnection): void {
    const address = entry.pending?.address ?? ''
    switch (message.kind) {
      case 'ready':
        this.#failedStarts = 0
        entry.state = 'spare'
        break
      case 'taken':
        // Only this end is closed.
        entry.pending?.socket.destroy()
        break
      case 'opened':
        clearTimeout(entry.pending?.deadline)
        entry.state = 'open'
        entry.what = `from ${address}: ${message.what}`
        this.#log.info(`connection ${entry.what} (process ${entry.process.pid})`)
        break
      case 'refused':
        this.#refused(address, message.why)
        break
    }
    this.#advance()
  }

  #ended(entry: Entry, how: string): void {
    this.#entries.delete(entry)
    const { pending, state, process } = entry
    if (pending !== undefined) this.#drop(pending)
    if (state === 'open') this.#log.detail(`connection ${entry.what ?? ''} (process ${process.pid}) ended ${how}`)
    if (this.#closing !== undefined) {
      if (this.#entries.size === 0) this.#closing()
      return
    }
    if (state === 'starting') this.#pauseStarts(process.pid, how)
    this.#advance()
  }

  #pauseStarts(pid: number, how: string): void {
    const pauseMs = Math.min(LONGEST_PAUSE_MS, 1000 * 2 ** this.#failedStarts++)
    this.#log.error(
      `process ${pid} for a connection ended ${how} before it was ready; next start in ${pauseMs / 1000} s`,
    )
    clearTimeout(this.#pause)
    this.#pause = setTimeout(() => {
      this.#pause = undefined
      this.#advance()
    }, pauseMs)
  }

  #expire(pending: Pending, afterMs: number): void {
    this.#refused(pending.address, `no valid request within ${afterMs / 1000} s`)
    const at = this.#waiting.indexOf(pending)
    if (at !== -1) this.#waiting.splice(at, 1)
    const entry = [...this.#entries].find((one) => one.pending === pending)
    if (entry === undefined) return this.#drop(pending)
    entry.state = 'late'
    entry.process.kill('SIGKILL')
  }

  #drop({ socket, deadline }: Pending): void {
    clearTimeout(deadline)
    socket.destroy()
  }

  #refused(address: string, why: string): void {
    this.#log.warn(`refused the connection from ${address}: ${why}`)
  }
}
