import { createServer, type IncomingMessage } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import type { ObjectClient, ObjectUpload } from '../../../src/storage/object/client.ts'
import type { PgtsError } from '../../../src/util/error.ts'
import { RefusedRequestError, RetryableStoreError } from '../../../src/storage/object/retryable-error.ts'

// Answers of a login page, a load balancer, a cache or an incomplete imitation, to each operation of each store.

export interface Asked {
  readonly method: string
  readonly url: string
  readonly headers: IncomingMessage['headers']
}
export interface Answer {
  readonly status: number
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: string
}

/** Answers in place of a store, or as one. */
export class Impostor implements AsyncDisposable {
  /** A line for each request: `GET /bucket/name?query`. */
  requests: string[] = []
  answer: (asked: Asked) => Answer = () => ({ status: 500 })
  readonly #server = createServer((asked, response) => {
    const { method = '', url = '', headers } = asked
    asked.resume().on('end', () => {
      this.requests.push(`${method} ${url}`)
      const { status, headers: more = {}, body = '' } = this.answer({ method, url, headers })
      response.writeHead(status, more).end(method === 'HEAD' ? undefined : body)
    })
  })

  async listen(): Promise<void> {
    await new Promise<void>((resolve) => this.#server.listen(0, '127.0.0.1', resolve))
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections()
    await new Promise((resolve) => this.#server.close(resolve))
  }
}

/** One impostor that runs for all tests of the file; each test starts without requests. */
export function impostorForFile(): Impostor {
  const impostor = new Impostor()
  beforeAll(() => impostor.listen())
  afterAll(() => impostor[Symbol.asyncDispose]())
  beforeEach(() => {
    impostor.requests = []
  })
  return impostor
}

const PAGE = '<html><body>please "log in"</body></html>'
export const html = (status: number, headers = {}): Answer => ({
  status,
  headers: { 'content-type': 'text/html; charset=utf-8', ...headers },
  body: PAGE,
})
export const xml = (body: string): Answer => ({ status: 200, headers: { 'content-type': 'application/xml' }, body })

/** Answers that no store gives. */
export const BOGUS: readonly (readonly [string, Answer])[] = [
  ['200 HTML', html(200)],
  ['200 without a body', { status: 200 }],
  ['200 other XML', xml('<?xml version="1.0"?><feed><IsTruncated>false</IsTruncated></feed>')],
  ['200 JSON of something else', { status: 200, headers: { 'content-type': 'application/json' }, body: '{"ok":true}' }],
  ['202 HTML', html(202)],
  ['204 of a load balancer', { status: 204 }],
  ['302 to a login page', html(302, { location: 'https://login.example/' })],
  ['304 of a cache', { status: 304 }],
  ['308 to another host', html(308, { location: 'https://elsewhere.example/' })],
  ['403 HTML', html(403)],
  ['404 HTML', html(404)],
  ['404 without a body', { status: 404 }],
  ['409 HTML', html(409)],
  ['410 HTML', html(410)],
  ['412 HTML', html(412)],
  ['416 HTML', html(416)],
  ['502 HTML', html(502)],
]

export const data = { kind: 'data' } as const
export const bytes = Buffer.from('bytes')
export const caught = (promise: Promise<unknown>) =>
  promise.then(
    (value) => `resolved with ${JSON.stringify(value)}`,
    (error: unknown) => error,
  )

export interface Case {
  readonly run?: (client: ObjectClient) => Promise<unknown>
  /** For an upload with one part, with answers of the store. */
  readonly runOn?: (upload: ObjectUpload) => Promise<unknown>
  /** Answers of the list that are valid for this operation. */
  readonly except?: readonly string[]
}

/** A client's contract, request by request. */
export const OPERATIONS: Readonly<Record<string, Case>> = {
  head: { run: (client) => client.head('p/a') },
  list: { run: (client) => client.list({ prefix: 'p/' }) },
  'list on': { run: (client) => client.list({ prefix: 'p/', after: 'token' }) },
  get: { run: (client) => client.get('p/a') },
  'get a range': { run: (client) => client.get('p/a', { offset: 2, length: 5 }) },
  'get from the end on': { run: (client) => client.get('p/a', { offset: 200 }) },
  put: { run: (client) => client.put('p/a', bytes, data) },
  putIfAbsent: { run: (client) => client.putIfAbsent!('p/a', bytes, data) },
  'remove one': { run: (client) => client.removeBatch(['p/a']) },
  'remove several': { run: (client) => client.removeBatch(['p/a', 'p/b']) },
}

/** The request is retried: as long as the policy allows, or a few times. */
export function expectRetryable(error: unknown): void {
  expect(error instanceof RetryableStoreError || error instanceof RefusedRequestError, String(error)).toBe(true)
  expect((error as PgtsError).denied, 'not treated as an answer of the store').toBeFalsy()
}

/** Every operation with every invalid answer. @param begin an upload with one part */
export function neverBelieved(
  store: Impostor,
  kind: string,
  operations: Readonly<Record<string, Case>>,
  client: () => ObjectClient,
  begin: () => Promise<ObjectUpload>,
): void {
  describe.each(Object.entries(operations))('%s', (_, { run, runOn, except = [] }) => {
    test.each(BOGUS.filter(([title]) => !except.includes(title)))('%s is a retryable error', async (_title, bogus) => {
      const upload = runOn === undefined ? undefined : await begin()
      store.answer = () => bogus
      const error = await caught(upload === undefined ? run!(client()) : runOn!(upload))
      expectRetryable(error)
      expect(error).toMatchObject({ code: expect.not.stringMatching(/missing$/) })
      // GCS refuses bytes and uploads with plain text, so the origin of these errors cannot be checked.
      if (bogus.status >= 500 || bogus.status === 403) return
      expect((error as Error).message).toContain(`answer ${bogus.status} `)
      expect((error as Error).message).toContain(`is not ${kind} answer`)
    })
  })
}
