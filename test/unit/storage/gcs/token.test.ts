import { createServer, type Server } from 'node:http'
import http from 'node:http'
import https from 'node:https'
import type { AddressInfo } from 'node:net'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { managedIdentity } from '../../../../src/storage/azure/managed-identity.ts'
import { tokenSource } from '../../../../src/storage/gcs/token.ts'
import { httpSender } from '../../../../src/storage/http/send.ts'
import type { Clock } from '../../../../src/util/clock.ts'

// The life of tokens, with a clock that the test sets.

let server: Server
let host: string
let issued: number
let nowMs: number
const clock: Clock = { nowMs: () => nowMs, sleep: async () => undefined }
const agents = { http: new http.Agent(), https: new https.Agent() }
const send = httpSender(agents, 10_000)

beforeAll(async () => {
  server = createServer((_asked, response) => {
    response.setHeader('metadata-flavor', 'Google')
    response.end(JSON.stringify({ access_token: `token ${++issued}`, expires_in: 3600, token_type: 'Bearer' }))
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  host = `127.0.0.1:${(server.address() as AddressInfo).port}`
})
afterAll(() => server.close())
beforeEach(() => {
  issued = 0
  nowMs = Date.UTC(2026, 0, 1)
})

const MINUTE_MS = 60_000
const gcs = () => tokenSource({ credential: { type: 'auto', metadata: host }, repository: 'repo1' }, send, clock)

describe('Google', () => {
  test('uses one token until five minutes before it expires, for all concurrent requests', async () => {
    const tokens = gcs()
    expect(await Promise.all([tokens.get(), tokens.get(), tokens.get()])).toEqual(Array(3).fill('token 1'))
    nowMs += 54 * MINUTE_MS
    expect(await tokens.get()).toBe('token 1')
    nowMs += 2 * MINUTE_MS
    expect(await Promise.all([tokens.get(), tokens.get()])).toEqual(['token 2', 'token 2'])
  })

  test('replaces a token that the service refuses, but not at once', async () => {
    const tokens = gcs()
    const first = await tokens.get()
    expect(tokens.refused(first), 'fetched just now').toBe(false)
    nowMs += MINUTE_MS
    expect(tokens.refused(first)).toBe(true)
    expect(await tokens.get()).toBe('token 2')
    expect(tokens.refused(first), 'there is a newer one already').toBe(true)
    expect(await tokens.get()).toBe('token 2')
  })
})

test('Azure: uses one token until five minutes before it expires', async () => {
  const service = { endpoint: `http://${host}/msi`, header: 'h' }
  const tokens = managedIdentity(send, 'https://a.blob.core.windows.net', 'repo1', { service }, clock)
  const get = async () => (await tokens.getToken('any')).token
  expect(await Promise.all([get(), get()])).toEqual(['token 1', 'token 1'])
  nowMs += 54 * MINUTE_MS
  expect(await get()).toBe('token 1')
  nowMs += 2 * MINUTE_MS
  expect(await get()).toBe('token 2')
})
