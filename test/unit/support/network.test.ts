import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { createServer, get, request } from 'node:http'
import { connect, createServer as tcpServer, type AddressInfo, type Server, type Socket } from 'node:net'
import { describe, expect, onTestFinished, test } from 'vitest'
import { FaultyFront, type FrontFaults, SLOW_DOWN } from '../../support/faults/faulty-front.ts'
import { type NetworkFaults, NetworkProxy } from '../../support/faults/network-proxy.ts'

// The fault tests depend on these faults, so the faults are tested themselves.

async function listening(server: Server): Promise<{ host: string; port: number }> {
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  onTestFinished(() => void server.close())
  return { host: '127.0.0.1', port: (server.address() as AddressInfo).port }
}

/** Everything that is received until the end; `failed` when the connection broke. */
async function heard(socket: Socket): Promise<{ bytes: Buffer; failed: boolean }> {
  const chunks: Buffer[] = []
  socket.on('data', (chunk: Buffer) => chunks.push(chunk))
  const failed = await new Promise<boolean>((resolve) => {
    socket.once('end', () => resolve(false))
    socket.once('error', () => resolve(true))
  })
  return { bytes: Buffer.concat(chunks), failed }
}

/** A server that returns what it receives, behind a proxy. */
async function echo(faults: NetworkFaults) {
  const server = tcpServer((socket) => socket.on('error', () => undefined).pipe(socket))
  const proxy = await NetworkProxy.start(await listening(server), faults)
  onTestFinished(() => proxy[Symbol.asyncDispose]())
  const say = async (bytes: Buffer) => {
    const socket = connect(proxy.port, '127.0.0.1')
    const answer = heard(socket)
    socket.end(bytes)
    return answer
  }
  return { proxy, say }
}

describe('the network proxy', () => {
  test('delivers bytes completely and in order, whatever the delays', async () => {
    const { proxy, say } = await echo({ latencyMs: 2, jitterMs: 5, windowBytes: 100_000 })
    const sent = Array.from({ length: 4 }, () => randomBytes(700_000))
    const got = await Promise.all(sent.map(say))
    for (const [i, { bytes, failed }] of got.entries()) {
      expect(failed).toBe(false)
      expect(bytes.equals(sent[i] ?? Buffer.alloc(0))).toBe(true)
    }
    expect(proxy.counters).toMatchObject({ connections: 4, upBytes: 2_800_000, downBytes: 2_800_000, struck: 0 })
  })

  test('takes twice the latency for a round trip and for a connection', async () => {
    const { say } = await echo({ latencyMs: 30 })
    const begun = performance.now()
    expect((await say(Buffer.from('x'))).bytes.toString()).toBe('x')
    expect(performance.now() - begun).toBeGreaterThanOrEqual(119)
  })

  test('limits bandwidth', async () => {
    const { say } = await echo({ bytesPerSecond: 1_000_000 })
    const begun = performance.now()
    await say(Buffer.alloc(200_000))
    expect(performance.now() - begun).toBeGreaterThanOrEqual(199)
  })

  test('refuses a share of connections', async () => {
    const { proxy, say } = await echo({ refuseShare: 0.5 })
    const failed = []
    for (let i = 0; i < 6; i++) failed.push((await say(Buffer.from('x'))).failed)
    expect(failed.filter(Boolean)).toHaveLength(3)
    expect(proxy.counters.refused).toBe(3)
  })

  test.each([
    { how: 'reset', failed: true },
    { how: 'close', failed: false },
  ] as const)('$how in the middle', async ({ how, failed }) => {
    const { proxy, say } = await echo({ strike: { direction: 'down', everyBytes: 300_000, how, times: 1 } })
    const bytes = randomBytes(500_000)
    const got = await say(bytes)
    expect(got.failed).toBe(failed)
    expect(got.bytes.length).toBeLessThan(300_000)
    expect(got.bytes.equals(bytes.subarray(0, got.bytes.length))).toBe(true)
    expect(proxy.counters.struck).toBe(1)
    expect((await say(bytes)).bytes.equals(bytes), 'once only').toBe(true)
  })

  test('delivers nothing over a stalled connection, and does not end it', async () => {
    const { proxy } = await echo({ strike: { direction: 'up', everyBytes: 1, how: 'stall', times: 1 } })
    const stalled = connect(proxy.port, '127.0.0.1')
    let heardOfIt = false
    stalled.on('data', () => (heardOfIt = true)).on('close', () => (heardOfIt = true))
    stalled.write('x')
    await expect.poll(() => proxy.counters.struck, { timeout: 20_000 }).toBe(1)
    // A round trip on another connection is completed in this time.
    const other = connect(proxy.port, '127.0.0.1')
    other.end('y')
    expect((await heard(other)).bytes.toString()).toBe('y')
    expect(heardOfIt).toBe(false)
    stalled.destroy()
  })

  test('flips one bit at the given offset', async () => {
    const { proxy, say } = await echo({ strike: { direction: 'up', everyBytes: 1000, how: 'flip', times: 1 } })
    const got = await say(Buffer.alloc(3000))
    expect(got.bytes.findIndex((byte) => byte !== 0)).toBe(999)
    expect(got.bytes.filter((byte) => byte !== 0)).toHaveLength(1)
    expect(proxy.counters.struck).toBe(1)
  })
})

describe('the faulty front', () => {
  const content = randomBytes(100_000)
  async function front(faults?: FrontFaults) {
    const asked: string[] = []
    const server = createServer((incoming, answer) => {
      asked.push(`${incoming.method} ${incoming.url} ${incoming.headers['x-odd']} ${incoming.headers.host}`)
      const headers = incoming.url === '/chunked' ? {} : { 'content-length': content.length }
      incoming.resume().on('end', () => {
        answer.writeHead(200, headers)
        answer.write(content)
        answer.end()
      })
    })
    const faulty = await FaultyFront.start(await listening(server))
    onTestFinished(() => faulty[Symbol.asyncDispose]())
    faulty.set(faults)
    const ask = (path = '/a%20b?c=%2F') =>
      new Promise<{ status: number | undefined; bytes: Buffer; retryAfter: string | undefined }>((resolve, reject) => {
        get({ port: faulty.port, path, headers: { 'x-odd': 'Kept', host: 'bucket.example' } }, async (answer) => {
          try {
            const chunks = []
            for await (const chunk of answer) chunks.push(chunk as Buffer)
            const retryAfter = answer.headers['retry-after']
            resolve({ status: answer.statusCode, bytes: Buffer.concat(chunks), retryAfter })
          } catch (error) {
            reject(error)
          }
        }).on('error', reject)
      })
    return { faulty, ask, asked }
  }

  test('forwards requests unchanged', async () => {
    const { ask, asked, faulty } = await front()
    expect((await ask()).bytes.equals(content)).toBe(true)
    expect(asked).toEqual(['GET /a%20b?c=%2F Kept bucket.example'])
    expect(faulty.counters).toEqual({ requests: 1, struck: 0 })
  })

  test('forwards request bodies, also after "100 Continue"', async () => {
    const { faulty, asked } = await front()
    const headers = { expect: '100-continue', 'content-length': 300_000 }
    const sent = request({ port: faulty.port, method: 'PUT', path: '/x', headers })
    sent.on('continue', () => sent.end(Buffer.alloc(300_000)))
    const [answer] = await once(sent, 'response')
    answer.resume()
    expect(asked).toHaveLength(1)
  })

  test('answers a share of the requests by itself', async () => {
    const { ask, asked, faulty } = await front({ how: SLOW_DOWN, share: 0.5, only: ({ path }) => path !== '/other' })
    const answers = []
    for (let i = 0; i < 4; i++) answers.push(await ask(), await ask('/other'))
    expect(answers.map(({ status }) => status)).toEqual([200, 200, 503, 200, 200, 200, 503, 200])
    expect(answers[2]?.retryAfter).toBe('1')
    expect(faulty.counters.struck).toBe(2)
    expect(asked).toHaveLength(6)
  })

  test('truncates bodies, changes them, drops answers', async () => {
    const { ask, asked, faulty } = await front({ how: { kind: 'truncate' }, times: 1 })
    await expect(ask()).rejects.toThrow('aborted')
    expect((await ask()).bytes.length).toBe(100_000)
    faulty.set({ how: { kind: 'truncate' }, times: 1 })
    await expect(ask('/chunked'), 'a body without a length').rejects.toThrow('aborted')
    faulty.set({ how: { kind: 'flip' }, times: 1 })
    const flipped = (await ask()).bytes
    expect(flipped.length).toBe(100_000)
    expect(content.filter((byte, i) => byte !== flipped[i])).toHaveLength(1)
    faulty.set({ how: { kind: 'lose-answer' }, times: 1 })
    const before = asked.length
    await expect(ask()).rejects.toThrow()
    expect(asked.length).toBe(before + 1)
    expect(faulty.counters.struck).toBe(1)
  })
})
