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

/** Faults of some of the requests; may be changed at any time. */
export interface FrontFaults {
  /** Only requests for which this says yes; absent: all. */
  readonly only?: (request: { readonly method: string; readonly path: string }) => boolean
  /** This share of them: 0.25 is every fourth, in order of arrival. Default 1. */
  readonly share?: number
  /** At most this number of times; absent: always. */
  readonly times?: number
  readonly how:
    | {
        /** Answer without a request to the store. */
        readonly kind: 'answer'
        readonly status: number
        readonly headers?: Readonly<Record<string, string>>
        readonly body?: string
      }
    /** Send half of the store's body, then end the connection. */
    | { readonly kind: 'truncate' }
    /** Forward the request, then close the connection without an answer: the client does not know the result. */
    | { readonly kind: 'lose-answer' }
    /** Never answer. */
    | { readonly kind: 'silence' }
    /** Change one bit in the middle of the store's body. */
    | { readonly kind: 'flip' }
    /** Send the answer without its length: in chunks, or until the connection ends, which may be `early`. */
    | { readonly kind: 'no-length'; readonly until: 'last-chunk' | 'end' | 'early' }
}

export interface FrontCounters {
  requests: number
  struck: number
}

/** The answer of an overloaded S3. */
export const SLOW_DOWN: FrontFaults['how'] = {
  kind: 'answer',
  status: 503,
  headers: { 'content-type': 'application/xml', 'retry-after': '1' },
  body: '<?xml version="1.0" encoding="UTF-8"?><Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>',
}

/** The answers of an overloaded Azure and GCS. */
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
  /** It uses TLS, with a certificate of this authority. */
  readonly caFile?: string
}

/**
 * An unreliable HTTP proxy in front of an object store. It uses TLS with a test certificate, or plain
 * HTTP without one, and forwards names and headers unchanged, so signatures stay valid.
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

  /** Set the faults of the requests from now on, and reset their count. Without an argument all requests are forwarded. */
  set(faults?: FrontFaults): void {
    this.#faults = faults
    this.#matching = 0
    this.counters.struck = 0
  }

  /** The fault for this request, if it gets one. */
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
      // As a busy server: it does not wait for the body, and closes the connection.
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
    passed.on('response', (upstream) => {
      upstream.on('error', lost)
      if (fault?.kind === 'lose-answer') {
        upstream.resume().on('end', lost)
        return
      }
      if (fault?.kind === 'no-length') return passWithoutLength(upstream, answer, fault.until)
      answer.writeHead(upstream.statusCode ?? 502, upstream.rawHeaders)
      answer.flushHeaders()
      if (fault === undefined) upstream.pipe(answer)
      else spoil(upstream, answer, fault.kind)
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

function passWithoutLength(
  upstream: IncomingMessage,
  answer: ServerResponse,
  until: 'last-chunk' | 'end' | 'early',
): void {
  const left =
    until === 'last-chunk' ? /^content-length$/i : /^(content-length|transfer-encoding|connection|keep-alive)$/i
  const headers = upstream.rawHeaders.filter((_, i, all) => !left.test(all[i - (i % 2)] ?? ''))
  if (until === 'last-chunk') {
    upstream.pipe(answer.writeHead(upstream.statusCode ?? 502, headers))
    return
  }
  // As an HTTP/1.0 server: the end of the connection is the end of the body.
  answer.useChunkedEncodingByDefault = false
  answer.shouldKeepAlive = false
  const chunks: Buffer[] = []
  upstream.on('data', (bytes: Buffer) => chunks.push(bytes))
  upstream.on('end', () => {
    const body = Buffer.concat(chunks)
    answer.writeHead(upstream.statusCode ?? 502, [...headers, 'connection', 'close'])
    answer.end(until === 'early' ? body.subarray(0, body.length / 2) : body)
  })
}

/** Forward half of a body (nothing of one without a length); there it ends, or has one wrong bit. */
function spoil(upstream: IncomingMessage, answer: ServerResponse, how: 'truncate' | 'flip'): void {
  const half = Math.floor(Number(upstream.headers['content-length'] ?? 0) / 2)
  let passed = 0
  let cut = false
  upstream.on('data', (bytes: Buffer) => {
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
  upstream.on('end', () => {
    if (!cut) answer.end()
  })
}
