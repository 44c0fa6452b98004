import http, { type ClientRequest, type IncomingMessage } from 'node:http'
import https from 'node:https'

export interface HttpRequest {
  readonly method: string
  readonly url: string
  readonly headers: Readonly<Record<string, string>>
  /** Sent with its length; absent: no body. */
  readonly body?: Uint8Array | string | readonly Uint8Array[]
  readonly signal?: AbortSignal
}

/** Send one request, once; resolves with the answer's head, whatever its status. Rejects with Node's own errors. */
export type HttpSend = (request: HttpRequest) => Promise<IncomingMessage>

/**
 * Requests over sockets that stay open between them.
 *
 * @param stallMs a connection on which nothing moves for so long, though we wait for it, is given up with ETIMEDOUT
 */
export function httpSender(agents: { http: http.Agent; https: https.Agent }, stallMs: number): HttpSend {
  return ({ method, url, headers, body, signal }) =>
    new Promise((resolve, reject) => {
      if (signal?.aborted) return reject(signal.reason as Error)
      const secure = url.startsWith('https:')
      const chunks = body === undefined ? [] : Array.isArray(body) ? body : [body as Uint8Array | string]
      const length = chunks.reduce((sum, chunk) => sum + Buffer.byteLength(chunk), 0)
      const request = (secure ? https : http).request(url, {
        method,
        headers: body === undefined && !BODY_METHODS.has(method) ? headers : { ...headers, 'content-length': length },
        agent: secure ? agents.https : agents.http,
      })
      let answer: IncomingMessage | undefined
      const onAbort = () => request.destroy(signal!.reason as Error)
      signal?.addEventListener('abort', onAbort, { once: true })
      request.once('close', () => signal?.removeEventListener('abort', onAbort))
      // Stays on after the promise is settled: an error without a listener would end the process.
      request.on('error', reject)
      request.setTimeout(stallMs, () => {
        // Bytes that nobody has taken yet: it is the reader who is slow, not the store.
        if (answer !== undefined && answer.readableLength > 0) request.setTimeout(stallMs)
        else (answer ?? request).destroy(stalled(stallMs))
      })
      request.once('response', (response) => {
        answer = response
        // As above; whoever reads it hears of the error all the same.
        response.on('error', () => undefined)
        resolve(response)
      })
      sendBody(request, chunks)
    })
}

/** TLS keeps a copy of what the network has not taken, so a large body is handed over piece by piece. */
const PIECE_BYTES = 256 * 1024

function sendBody(request: ClientRequest, chunks: readonly (Uint8Array | string)[]): void {
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

/** The whole of a short answer. Longer than `maxBytes` is an error: such an answer is not meant for us. */
export async function readBody(response: AsyncIterable<unknown>, maxBytes = 64 * 1024 * 1024): Promise<Buffer> {
  const chunks: Buffer[] = []
  let bytes = 0
  for await (const chunk of response) {
    bytes += (chunk as Buffer).length
    if (bytes > maxBytes) throw new Error(`the answer is longer than ${maxBytes} bytes`)
    chunks.push(chunk as Buffer)
  }
  return Buffer.concat(chunks)
}
