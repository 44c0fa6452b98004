import http, { type ClientRequest, type IncomingMessage } from 'node:http'
import https from 'node:https'
import type { Readable } from 'node:stream'
import { StreamChunks } from './stream-chunks.ts'

export interface HttpRequest {
  readonly method: string
  readonly url: string | HttpTarget
  readonly headers: Readonly<Record<string, string>>
  /** Sent with a content-length; absent: no body. */
  readonly body?: Uint8Array | string | readonly Uint8Array[]
  readonly signal?: AbortSignal
}

/** The parts of a URL; unlike in a URL, the path is sent as it is. */
export interface HttpTarget {
  readonly secure: boolean
  readonly host: string
  readonly port?: number
  readonly path: string
}

/**
 * Sends one request, once; resolves with the head of the answer, whatever its status. Rejects with Node's own errors.
 */
export type HttpSend = (request: HttpRequest) => Promise<IncomingMessage>

/**
 * Sends requests over keep-alive sockets.
 *
 * @param stallMs a connection without any transfer for this long, while we wait for one, fails with ETIMEDOUT
 */
export function httpSender(agents: { http: http.Agent; https: https.Agent }, stallMs: number): HttpSend {
  return ({ method, url, headers, body, signal }) =>
    new Promise((resolve, reject) => {
      if (signal?.aborted) return reject(signal.reason as Error)
      const { secure, ...target } = typeof url === 'string' ? { secure: url.startsWith('https:') } : url
      const chunks = body === undefined ? [] : Array.isArray(body) ? body : [body as Uint8Array | string]
      const length = chunks.reduce((sum, chunk) => sum + Buffer.byteLength(chunk), 0)
      const options = {
        ...target,
        method,
        headers: body === undefined && !BODY_METHODS.has(method) ? headers : { ...headers, 'content-length': length },
        agent: secure ? agents.https : agents.http,
      }
      const scheme = secure ? https : http
      const request = typeof url === 'string' ? scheme.request(url, options) : scheme.request(options)
      let answer: IncomingMessage | undefined
      const onAbort = () => request.destroy(signal!.reason as Error)
      signal?.addEventListener('abort', onAbort, { once: true })
      request.once('close', () => signal?.removeEventListener('abort', onAbort))
      // Stays attached after the promise has settled: an error without a listener would end the process.
      request.on('error', reject)
      request.setTimeout(stallMs, () => {
        // Received bytes are still unread: the reader is slow, not the store.
        if (answer !== undefined && answer.readableLength > 0) request.setTimeout(stallMs)
        else (answer ?? request).destroy(stalled(stallMs))
      })
      request.once('response', (response) => {
        answer = response
        // As above; the reader of the body still receives the error.
        response.on('error', () => undefined)
        resolve(response)
      })
      sendBody(request, chunks)
    })
}

/** TLS copies all bytes that the network has not accepted yet, so a large body is passed in pieces. */
const PIECE_BYTES = 256 * 1024

function sendBody(request: ClientRequest, chunks: readonly (Uint8Array | string)[]): void {
  const [only] = chunks
  if (chunks.length <= 1 && (only?.length ?? 0) <= PIECE_BYTES) return void request.end(only)
  const pieces = piecesOf(chunks)
  const more = (): void => {
    for (let step = pieces.next(); step.done !== true; step = pieces.next())
      if (!request.write(step.value)) return void request.once('drain', more)
    request.end()
  }
  more()
}

function* piecesOf(chunks: readonly (Uint8Array | string)[]): Generator<Uint8Array | string> {
  for (const chunk of chunks) {
    if (typeof chunk === 'string') yield chunk
    else for (let at = 0; at < chunk.length; at += PIECE_BYTES) yield chunk.subarray(at, at + PIECE_BYTES)
  }
}

const BODY_METHODS = new Set(['PUT', 'POST', 'PATCH'])

function stalled(stallMs: number): Error {
  return Object.assign(new Error(`nothing arrived for ${Math.round(stallMs / 1000)} seconds`), { code: 'ETIMEDOUT' })
}

/**
 * Reads a short answer into one buffer. An answer longer than `maxBytes` is an error: it cannot be the expected one.
 */
export async function readBody(response: Readable, maxBytes = 64 * 1024 * 1024): Promise<Buffer> {
  const chunks: Uint8Array[] = []
  let bytes = 0
  for await (const chunk of new StreamChunks(response)) {
    bytes += chunk.length
    if (bytes > maxBytes) throw new Error(`the answer is longer than ${maxBytes} bytes`)
    chunks.push(chunk)
  }
  return Buffer.concat(chunks)
}
