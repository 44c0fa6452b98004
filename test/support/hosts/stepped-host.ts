import { spawn } from 'node:child_process'
import { chmodSync, writeFileSync } from 'node:fs'
import { createServer, type Server, type Socket } from 'node:net'
import { join } from 'node:path'
import { encodeFrame, FRAME, FrameDecoder, type Frame } from '../../../src/remote/frame.ts'
import { decodeValue } from '../../../src/remote/value.ts'
import { cleanEnv, giveToTestUser, reachableNode, testUser } from '../processes/test-user.ts'

/** Requests of other kinds of work at the same time, which no step waits for. */
const FREE: ReadonlySet<string> = new Set(['held', 'progress', 'job-setup', 'backup-file'])

/**
 * Replaces ssh: the other end of each connection runs here, as the test user. The answers of a round trip are held until all
 * its requests have been sent, so a command that sends one of them only after the answer to another one does not end.
 */
export class SteppedHost implements AsyncDisposable {
  /** What was not expected. */
  readonly surprises: string[] = []
  readonly #server: Server
  readonly #sockets = new Set<Socket>()
  #steps: Steps | undefined

  private constructor(
    /** For `cmd-ssh`. */
    readonly program: string,
    server: Server,
  ) {
    this.#server = server
  }

  static async start(dir: string): Promise<SteppedHost> {
    const path = join(dir, 'ssh.sock')
    const program = join(dir, 'ssh')
    const script = `const socket = require('net').connect({ path: '${path}', allowHalfOpen: true })
socket.write(process.argv.at(-1) + '\\n')
process.stdin.pipe(socket).pipe(process.stdout)`
    writeFileSync(join(dir, 'ssh.cjs'), script)
    writeFileSync(program, `#!/bin/sh\nexec '${reachableNode()}' '${join(dir, 'ssh.cjs')}' "$@"\n`)
    chmodSync(program, 0o755)
    const server = createServer({ allowHalfOpen: true })
    const host = new SteppedHost(program, server)
    server.on('connection', (socket) => host.#serve(socket))
    await new Promise<void>((resolve) => server.listen(path, resolve))
    giveToTestUser(path)
    return host
  }

  /** @param roundTrips verbs of connection 0 that are requested at the same time; one that ends with `*` any number of times */
  expect(roundTrips: readonly string[]): void {
    this.surprises.length = 0
    this.#steps = new Steps(
      roundTrips.map((verbs) => verbs.split(' ')),
      this.surprises,
    )
  }

  /** Round trips that have not begun, or not all of whose requests were sent. */
  get left(): readonly string[] {
    return this.#steps?.left ?? []
  }

  #serve(socket: Socket): void {
    this.#sockets.add(socket.on('error', () => undefined))
    void readLine(socket).then(([command, rest]) => {
      const { uid, gid, switched } = testUser
      const child = spawn('sh', ['-c', command], {
        cwd: '/',
        env: cleanEnv(),
        stdio: ['pipe', 'pipe', 'inherit'],
        ...(switched ? { uid, gid } : {}),
      })
      for (const stream of [child.stdin, child.stdout]) stream.on('error', () => undefined)
      const steps = command.includes('--process=0 ') ? this.#steps : undefined
      const [there, back] = [new Direction(), new Direction()]
      const write = (frame: Buffer) => void socket.write(frame)
      const pass = (bytes: Buffer) => {
        for (const piece of there.push(bytes)) {
          if (piece.frame !== undefined) steps?.requested(piece.frame)
          child.stdin.write(piece.bytes)
        }
      }
      if (rest.length > 0) pass(rest)
      socket.on('data', pass).once('end', () => child.stdin.end())
      child.stdout.on('data', (bytes: Buffer) => {
        for (const { frame, bytes: piece } of back.push(bytes))
          if (frame === undefined || steps?.holds(frame, () => write(piece)) !== true) write(piece)
      })
      child.stdout.once('end', () => socket.end())
      socket.once('close', () => void child.kill())
    })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of this.#sockets) socket.destroy()
    await new Promise((resolve) => this.#server.close(resolve))
  }
}

function readLine(socket: Socket): Promise<[line: string, rest: Buffer]> {
  return new Promise((resolve) => {
    let received: Buffer = Buffer.alloc(0)
    const onData = (bytes: Buffer) => {
      received = Buffer.concat([received, bytes])
      const end = received.indexOf('\n')
      if (end === -1) return
      socket.off('data', onData)
      resolve([received.subarray(0, end).toString(), received.subarray(end + 1)])
    }
    socket.on('data', onData)
  })
}

interface Piece {
  readonly bytes: Buffer
  readonly frame?: Frame
}

/** The bytes of one direction: the line of the greeting, then frames. */
class Direction {
  readonly #decoder = new FrameDecoder()
  #isGreeted = false

  push(bytes: Buffer): Piece[] {
    const pieces: Piece[] = []
    let rest = bytes
    if (!this.#isGreeted) {
      const end = bytes.indexOf('\n')
      this.#isGreeted = end !== -1
      rest = this.#isGreeted ? bytes.subarray(end + 1) : Buffer.alloc(0)
      pieces.push({ bytes: bytes.subarray(0, bytes.length - rest.length) })
    }
    for (const frame of this.#decoder.push(rest)) pieces.push({ bytes: encodeFrame(frame, frame.payload), frame })
    return pieces
  }
}

/** The round trips of one connection. */
class Steps {
  readonly #roundTrips: readonly (readonly string[])[]
  readonly #surprises: string[]
  #current = 0
  /** Verbs of the current round trip that have not been requested. */
  #missing: string[]
  /** Round trip of each stream. */
  readonly #streams = new Map<number, number>()
  #held: (() => void)[] = []

  constructor(roundTrips: readonly (readonly string[])[], surprises: string[]) {
    this.#roundTrips = roundTrips
    this.#surprises = surprises
    this.#missing = [...(roundTrips[0] ?? [])]
  }

  get left(): string[] {
    return [this.#missing, ...this.#roundTrips.slice(this.#current + 1)]
      .map((verbs) => verbs.filter((verb) => !verb.endsWith('*')).join(' '))
      .filter((verbs) => verbs !== '')
  }

  requested({ type, stream, payload }: Frame): void {
    if (type !== FRAME.request) return
    // A request of several frames begins with its verb, too, but none of those here is as large.
    const [verb] = decodeValue(payload) as [string]
    if (FREE.has(verb) || this.#isRepeated(verb)) return
    if (this.#missing.every((one) => one.endsWith('*'))) this.#next()
    const place = this.#missing.indexOf(verb)
    if (place === -1) {
      this.#surprises.push(`${verb} in round trip ${this.#current + 1}, which expects ${this.#missing.join(' ')}`)
      return
    }
    this.#missing.splice(place, 1)
    this.#streams.set(stream, this.#current)
    if (this.#missing.length === 0) for (const release of this.#held.splice(0)) release()
  }

  /** Keeps an answer of the current round trip until it is complete. */
  holds({ stream }: Frame, release: () => void): boolean {
    if (this.#streams.get(stream) !== this.#current || this.#missing.length === 0) return false
    this.#held.push(release)
    return true
  }

  #isRepeated(verb: string): boolean {
    const isNext = this.#missing.length === 0 && this.#roundTrips[this.#current + 1]?.includes(`${verb}*`) === true
    if (isNext) this.#next()
    return this.#missing.includes(`${verb}*`)
  }

  #next(): void {
    this.#current++
    this.#missing = [...(this.#roundTrips[this.#current] ?? [])]
  }
}
