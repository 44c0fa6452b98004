import { Socket } from 'node:net'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { Connections } from '../../../src/commands/server/connections.ts'
import type { ServerSettings, ToConnection } from '../../../src/commands/server/messages.ts'
import type { ConnectionEvents, StartConnection } from '../../../src/commands/server/ports.ts'
import type { Logger } from '../../../src/util/log.ts'

beforeEach(() => void vi.useFakeTimers())
afterEach(() => void vi.useRealTimers())

/** A process without a program behind it. */
class FakeProcess {
  readonly sent: { message: ToConnection; socket?: Socket }[] = []
  readonly signals: NodeJS.Signals[] = []
  constructor(
    readonly pid: number,
    readonly events: ConnectionEvents,
  ) {}
  send(message: ToConnection, socket?: Socket): void {
    this.sent.push({ message, socket })
  }
  kill(signal: NodeJS.Signals): void {
    this.signals.push(signal)
  }
  ready(): void {
    this.events.onMessage({ kind: 'ready' })
  }
  get socket(): Socket | undefined {
    return this.sent.find(({ message }) => message.kind === 'connection')?.socket
  }
}

const settings = (ioTimeoutMs = 60_000): ServerSettings => ({
  certificates: { ca: [], cert: '', key: '' },
  rights: new Map(),
  ioTimeoutMs,
  protocolTimeoutMs: 60_000,
  configArguments: [],
})

function aServer() {
  const processes: FakeProcess[] = []
  const lines: string[] = []
  const line = (level: string) => (first: unknown) => void lines.push(`${level}: ${String(first)}`)
  const log = {
    error: line('error'),
    warn: line('warn'),
    info: line('info'),
    detail: line('detail'),
  } as unknown as Logger
  const start: StartConnection = (events) => {
    const started = new FakeProcess(processes.length + 1, events)
    processes.push(started)
    return started
  }
  const connections = new Connections(start, settings(), log)
  /** Starts what is wanted, until there is nothing more to start. */
  const readyAll = () => {
    for (; ready < processes.length; ready++) processes[ready]!.ready()
  }
  let ready = 0
  const take = (count = 1) => {
    const sockets = Array.from({ length: count }, () => new Socket())
    for (const socket of sockets) connections.take(socket)
    return sockets
  }
  return { connections, processes, lines, readyAll, take }
}

test('one process is always running for the next connection', () => {
  const { processes, readyAll, take } = aServer()
  expect(processes).toHaveLength(1)
  readyAll()
  expect(processes).toHaveLength(1)
  const [socket] = take()
  expect(processes[0]!.socket).toBe(socket)
  expect(processes).toHaveLength(2)
})

test('of 20 connections 16 are in a handshake, and each that is open makes room for the next', () => {
  const { processes, readyAll, take, lines } = aServer()
  const sockets = take(20)
  readyAll()
  const handed = () => processes.map(({ socket }) => socket).filter((socket) => socket !== undefined)
  expect(handed()).toEqual(sockets.slice(0, 16))
  processes[0]!.events.onMessage({ kind: 'opened', what: "client 'db1' runs backup" })
  readyAll()
  expect(handed()).toEqual(sockets.slice(0, 17))
  expect(lines).toContainEqual(expect.stringContaining("client 'db1' runs backup (process 1)"))
  // The client has left during the handshake.
  processes[1]!.events.onEnd('with exit code 0')
  readyAll()
  expect(handed().at(-1)).toBe(sockets[17])
})

test('the 257th connection is closed, and logged', () => {
  const { take, lines } = aServer()
  const sockets = take(257)
  expect(sockets.map(({ destroyed }) => destroyed).indexOf(true)).toBe(256)
  expect(lines).toEqual([expect.stringContaining('there are 256 connections')])
})

test('a connection without a valid request ends after io-timeout, waiting or in a handshake', () => {
  const { processes, readyAll, take, lines } = aServer()
  readyAll()
  const sockets = take(2)
  expect(processes[0]!.socket).toBe(sockets[0])
  vi.advanceTimersByTime(60_000)
  expect(processes[0]!.signals).toEqual(['SIGKILL'])
  expect(sockets[1]!.destroyed).toBe(true)
  expect(lines.filter((line) => line.includes('no valid request within 60 s'))).toHaveLength(2)
})

test('a connection that is open has no such limit', () => {
  const { processes, readyAll, take } = aServer()
  readyAll()
  take()
  processes[0]!.events.onMessage({ kind: 'opened', what: '' })
  vi.advanceTimersByTime(3_600_000)
  expect(processes[0]!.signals).toEqual([])
})

test('processes that end before they are ready are started again after growing pauses', () => {
  const { processes, lines } = aServer()
  for (const [started, pauseMs] of [1000, 2000, 4000].entries()) {
    processes[started]!.events.onEnd('with exit code 102')
    vi.advanceTimersByTime(pauseMs - 1)
    expect(processes).toHaveLength(started + 1)
    vi.advanceTimersByTime(1)
    expect(processes).toHaveLength(started + 2)
  }
  expect(lines[2]).toBe(
    'error: process 3 for a connection ended with exit code 102 before it was ready; next start in 4 s',
  )
})

test('after a reload open connections end when they have no work, and new ones have the new settings', () => {
  const { connections, processes, readyAll, take } = aServer()
  readyAll()
  take()
  processes[0]!.events.onMessage({ kind: 'opened', what: '' })
  readyAll()
  const next = settings(5000)
  connections.use(next)
  expect(processes[0]!.sent.at(-1)!.message).toEqual({ kind: 'close-when-idle' })
  expect(processes[1]!.sent).toEqual([])
  take()
  expect(processes[1]!.sent[0]!.message).toMatchObject({ kind: 'connection', settings: next })
})

test('closing ends every process, and kills those that are still there after 15 s', async () => {
  const { connections, processes, readyAll, take, lines } = aServer()
  readyAll()
  take()
  processes[0]!.events.onMessage({ kind: 'opened', what: "client 'db1' runs backup" })
  readyAll()
  let closed = false
  const closing = connections.close().then(() => (closed = true))
  expect(processes.map(({ signals }) => signals)).toEqual([['SIGTERM'], ['SIGTERM']])
  expect(lines.at(-1)).toContain('warn: ending the connection from')
  processes[1]!.events.onEnd('of SIGTERM')
  await vi.advanceTimersByTimeAsync(15_000)
  expect(processes[0]!.signals).toEqual(['SIGTERM', 'SIGKILL'])
  expect(closed).toBe(false)
  processes[0]!.events.onEnd('of SIGKILL')
  await closing
  expect(processes).toHaveLength(2)
})
