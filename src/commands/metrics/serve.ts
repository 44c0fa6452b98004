import type { IncomingMessage, Server, ServerResponse } from 'node:http'
import { PgtsError, messageOf, systemCode } from '../../util/error.ts'
import type { Logger } from '../../util/log.ts'
import { CONTENT_TYPE } from './exposition.ts'

export interface Endpoint {
  readonly host: string
  readonly port: number
}

const LOOPBACK = '127.0.0.1'

/** `[ADDRESS:]PORT`; an IPv6 address is in brackets. Without an address: loopback only. */
export function parseEndpoint(text: string): Endpoint {
  const match = /^(?:(?:\[([0-9A-Fa-f:.%]+)\]|([^:[\]]*)):)?([0-9]{1,5})$/.exec(text)
  const port = Number(match?.[3])
  if (match === null || port > 65535) {
    throw new PgtsError('option-invalid-value', `'${text}' is not valid for 'listen' option`, {
      hints: ['give a port, or an address and a port: 9854, 0.0.0.0:9854, [::1]:9854'],
    })
  }
  return { host: (match[1] ?? match[2] ?? '') || LOOPBACK, port }
}

export interface ServeOptions {
  readonly endpoint: Endpoint
  /** Collect again after this time; requests in between have the same answer. */
  readonly intervalMs: number
  readonly nowMs: () => number
  readonly log: Logger
  readonly signal: AbortSignal
}

/** Answers requests for /metrics until the signal. @throws PgtsError host-connect if it cannot listen */
export async function serve(create: () => Promise<string>, options: ServeOptions): Promise<void> {
  const { endpoint, log, signal } = options
  signal.throwIfAborted()
  const text = remembered(create, options)
  const { createServer } = await import('node:http')
  const server = createServer(
    // A scraper sends a short request at once; these limits are for others.
    { headersTimeout: 10_000, requestTimeout: 10_000, maxHeaderSize: 16_384 },
    (request, response) => {
      answer(request, response, text).catch((error: unknown) => {
        log.warn(`the metrics cannot be created: ${messageOf(error)}`)
        if (!response.headersSent) response.writeHead(500)
        response.end()
      })
    },
  )
  server.maxConnections = 64
  await listen(server, endpoint)
  const { port } = server.address() as { port: number }
  log.info(`metrics at http://${endpoint.host.includes(':') ? `[${endpoint.host}]` : endpoint.host}:${port}/metrics`)
  await new Promise<void>((resolve) => {
    const stop = () => {
      server.close(() => resolve())
      server.closeAllConnections()
    }
    if (signal.aborted) stop()
    else signal.addEventListener('abort', stop, { once: true })
  })
}

function listen(server: Server, { host, port }: Endpoint): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', (error) => reject(cannotListen(error, host, port)))
    server.listen(port, host, resolve)
  })
}

function cannotListen(error: Error, host: string, port: number): PgtsError {
  const inUse = systemCode(error) === 'EADDRINUSE'
  return new PgtsError('host-connect', `cannot listen on ${host} port ${port}: ${error.message}`, {
    hints: [inUse ? 'another program listens there: give another port with --listen' : 'check the address of --listen'],
    cause: error,
  })
}

/** One collection at a time, whose result is kept for the interval. */
function remembered(create: () => Promise<string>, { intervalMs, nowMs }: ServeOptions): () => Promise<string> {
  let last: { readonly text: Promise<string>; readonly atMs: number } | undefined
  return () => {
    const now = nowMs()
    if (last === undefined || now - last.atMs >= intervalMs || now < last.atMs) {
      const text = create()
      const entry = { text, atMs: now }
      last = entry
      text.catch(() => {
        if (last === entry) last = undefined
      })
    }
    return last.text
  }
}

async function answer(request: IncomingMessage, response: ServerResponse, text: () => Promise<string>): Promise<void> {
  const path = (request.url ?? '').replace(/\?.*$/, '')
  if (request.method !== 'GET' && request.method !== 'HEAD') return plain(response, 405, 'only GET and HEAD')
  if (path === '/') return plain(response, 200, 'pgts: the metrics are at /metrics')
  if (path !== '/metrics') return plain(response, 404, 'not found: the metrics are at /metrics')
  const body = await text()
  response.writeHead(200, { 'content-type': CONTENT_TYPE, 'content-length': Buffer.byteLength(body) })
  response.end(request.method === 'HEAD' ? undefined : body)
}

function plain(response: ServerResponse, status: number, text: string): void {
  response.writeHead(status, { 'content-type': 'text/plain; charset=utf-8' })
  response.end(`${text}\n`)
}
