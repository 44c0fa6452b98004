import { readFileSync } from 'node:fs'
import {
  Agent,
  createServer as plainServer,
  type IncomingMessage,
  request,
  type Server,
  type ServerResponse,
} from 'node:http'
import { Agent as TlsAgent, createServer as tlsServer, request as tlsRequest } from 'node:https'
import type { AddressInfo, Socket } from 'node:net'
import type { TestCertificates } from '../stores/tls.ts'

/** What is done to some of the requests; may be changed at any time. */
export interface FrontFaults {
  /** Only requests for which this says yes; absent: all. */
  readonly only?: (request: { readonly method: string; readonly path: string }) => boolean
  /** Of these, this share: 0.25 is every fourth, in the order they come. Default 1. */
  readonly share?: number
  /** No more than so often; absent: for ever. */
  readonly times?: number
  readonly how:
    | {
        /** Answer by itself, and ask nothing of the store. */
        readonly kind: 'answer'
        readonly status: number
        readonly headers?: Readonly<Record<string, string>>
        readonly body?: string
      }
    /** Send half of the store's body, then end the connection. */
    | { readonly kind: 'truncate' }
    /** Let the store do it, then end the connection without a word: the client cannot know. */
    | { readonly kind: 'lose-answer' }
    /** Answer nothing, for ever. */
    | { readonly kind: 'silence' }
    /** Change one bit in the middle of the store's body. */
    | { readonly kind: 'flip' }
    /** Leave out how long the store's answer is: in chunks, or until the connection ends, which may come `early`. */
    | { readonly kind: 'no-length'; readonly until: 'last-chunk' | 'end' | 'early' }
}

export interface FrontCounters {
  requests: number
  struck: number
}

/** S3's way to say that it is overloaded. */
export const SLOW_DOWN: FrontFaults['how'] = {
  kind: 'answer',
  status: 503,
  headers: { 'content-type': 'application/xml', 'retry-after': '1' },
  body: '<?xml version="1.0" encoding="UTF-8"?><Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>',
}

/** The same of Azure and of Google. */
export const SERVER_BUSY: FrontFaults['how'] = {
  kind: 'answer',
  status: 503,
  headers: { 'content-type': 'application/xml', 'x-ms-error-code': 'ServerBusy', 'retry-after': '1' },
  body: '<?xml version="1.0" encoding="utf-8"?><Error><Code>ServerBusy</Code><Message>The server is busy.</Message></Error>',
}
export const RATE_LIMIT: FrontFaults['how'] = {
  kind: 'answer',
  status: 429,
  headers: { 'content-type': 'application/json' },
  body: '{"error":{"code":429,"message":"The rate limit was exceeded.","errors":[{"reason":"rateLimitExceeded"}]}}',
}

/** Where a store answers. */
export interface FrontTarget {
  readonly host: string
  readonly port: number
  /** It speaks TLS, with a certificate of this authority. */
  readonly caFile?: string
}

/**
 * A front of an object store that understands HTTP and is unreliable. It speaks TLS with a test certificate, or plain
 * HTTP without one, and passes everything on to the store, names and headers as they came: signatures hold.
 */
export class FaultyFront implements AsyncDisposable {
  readonly counters: FrontCounters = { requests: 0, struck: 0 }
  readonly #agent: Agent
  readonly #server: Server
  readonly #sockets = new Set<Socket>()
  #faults: FrontFaults | undefined
  #matching = 0

  private constructor(
    readonly target: FrontTarget,
    certificates: TestCertificates | undefined,
  ) {
    const { caFile } = target
    this.#agent =
      caFile === undefined
        ? new Agent({ keepAlive: true })
        : new TlsAgent({ keepAlive: true, ca: readFileSync(caFile), servername: '' })
    const serve = (asked: IncomingMessage, answer: ServerResponse) => this.#serve(asked, answer)
    this.#server =
      certificates === undefined
        ? plainServer(serve)
        : tlsServer({ cert: readFileSync(certificates.certFile), key: readFileSync(certificates.keyFile) }, serve)
    this.#server.on('connection', (socket: Socket) => {
      this.#sockets.add(socket)
      socket.once('close', () => this.#sockets.delete(socket))
    })
  }

  static async start(target: FrontTarget, certificates?: TestCertificates): Promise<FaultyFront> {
    const front = new FaultyFront(target, certificates)
    await new Promise<void>((resolve) => front.#server.listen(0, '127.0.0.1', resolve))
    return front
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port
  }

  /** Connections of clients that are open. */
  get connections(): number {
    return this.#sockets.size
  }

  /** Holds for the requests from now on; counts from here. Without an argument everything passes. */
  set(faults?: FrontFaults): void {
    this.#faults = faults
    this.#matching = 0
    this.counters.struck = 0
  }

  /** The fault for this request, if it is one that is struck. */
  #fault(asked: IncomingMessage): FrontFaults['how'] | undefined {
    this.counters.requests++
    const faults = this.#faults
    if (faults === undefined || this.counters.struck >= (faults.times ?? Infinity)) return undefined
    if (faults.only?.({ method: asked.method ?? '', path: asked.url ?? '' }) === false) return undefined
    const { share = 1 } = faults
    this.#matching++
    if (Math.floor(this.#matching * share) === Math.floor((this.#matching - 1) * share)) return undefined
    this.counters.struck++
    return faults.how
  }

  #serve(asked: IncomingMessage, answer: ServerResponse): void {
    const fault = this.#fault(asked)
    if (fault?.kind === 'silence') return
    if (fault?.kind === 'answer') {
      // As a busy server does: the body is not waited for, and the connection is not kept.
      answer.writeHead(fault.status, { ...fault.headers, connection: 'close' }).end(fault.body)
      asked.resume()
      return
    }
    const { method = 'GET', url: path = '/' } = asked
    // Node has answered `Expect: 100-continue` already.
    const headers = asked.rawHeaders.filter((_, i, all) => all[i - (i % 2)]?.toLowerCase() !== 'expect')
    const { host, port, caFile } = this.target
    const send = caFile === undefined ? request : tlsRequest
    const passed = send({ host, port, method, path, headers, agent: this.#agent, setHost: false })
    const lost = () => asked.socket.destroy()
    passed.on('error', lost)
    answer.on('close', () => {
      if (!answer.writableFinished) passed.destroy()
    })
    passed.on('response', (told) => {
      told.on('error', lost)
      if (fault?.kind === 'lose-answer') {
        told.resume().on('end', lost)
        return
      }
      if (fault?.kind === 'no-length') return passWithoutLength(told, answer, fault.until)
      answer.writeHead(told.statusCode ?? 502, told.rawHeaders)
      answer.flushHeaders()
      if (fault === undefined) told.pipe(answer)
      else spoil(told, answer, fault.kind)
    })
    asked.pipe(passed)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const closed = new Promise((resolve) => this.#server.close(resolve))
    for (const socket of this.#sockets) socket.destroy()
    this.#agent.destroy()
    await closed
  }
}

function passWithoutLength(told: IncomingMessage, answer: ServerResponse, until: 'last-chunk' | 'end' | 'early'): void {
  const left =
    until === 'last-chunk' ? /^content-length$/i : /^(content-length|transfer-encoding|connection|keep-alive)$/i
  const headers = told.rawHeaders.filter((_, i, all) => !left.test(all[i - (i % 2)] ?? ''))
  if (until === 'last-chunk') {
    told.pipe(answer.writeHead(told.statusCode ?? 502, headers))
    return
  }
  // As a server of HTTP/1.0: the end of the connection is the end of the body.
  answer.useChunkedEncodingByDefault = false
  answer.shouldKeepAlive = false
  const chunks: Buffer[] = []
  told.on('data', (bytes: Buffer) => chunks.push(bytes))
  told.on('end', () => {
    const body = Buffer.concat(chunks)
    answer.writeHead(told.statusCode ?? 502, [...headers, 'connection', 'close'])
    answer.end(until === 'early' ? body.subarray(0, body.length / 2) : body)
  })
}

/** Pass a body on as far as its middle (or nothing of one without a length): there it ends, or has one wrong bit. */
function spoil(told: IncomingMessage, answer: ServerResponse, how: 'truncate' | 'flip'): void {
  const half = Math.floor(Number(told.headers['content-length'] ?? 0) / 2)
  let passed = 0
  let cut = false
  told.on('data', (bytes: Buffer) => {
    const at = half - passed
    passed += bytes.length
    if (cut) return
    if (at < 0 || at >= bytes.length) {
      answer.write(bytes)
    } else if (how === 'flip') {
      const flipped = Buffer.from(bytes)
      flipped[at] = (flipped[at] ?? 0) ^ 0x10
      answer.write(flipped)
    } else {
      cut = true
      answer.write(bytes.subarray(0, at), () => answer.socket?.destroy())
    }
  })
  told.on('end', () => {
    if (!cut) answer.end()
  })
}
