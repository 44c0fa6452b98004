import http from 'node:http'
import type { AddressInfo } from 'node:net'
import { PassThrough, Readable } from 'node:stream'
import { expect, test } from 'vitest'
import { httpSender } from '../../../../src/storage/http/send.ts'
import { StreamChunks } from '../../../../src/storage/http/stream-chunks.ts'

async function textOf(stream: Readable, failure?: (error: unknown) => unknown): Promise<string> {
  let text = ''
  for await (const chunk of new StreamChunks(stream, failure)) text += Buffer.from(chunk).toString()
  return text
}

test('returns what was buffered before, what comes later, and nothing of an empty stream', async () => {
  const stream = new PassThrough()
  stream.write('first, ')
  const read = textOf(stream)
  setImmediate(() => {
    stream.write('second, ')
    setImmediate(() => stream.end('last'))
  })
  expect(await read).toBe('first, second, last')
  expect(await textOf(Readable.from([]))).toBe('')
})

test('throws the converted error of the stream after the bytes before it', async () => {
  const stream = new PassThrough()
  stream.write('a')
  stream.on('error', () => undefined)
  const chunks = new StreamChunks(stream, (error) => new Error(`converted: ${(error as Error).message}`))
  expect((await chunks.next()).value).toEqual(Buffer.from('a'))
  const next = chunks.next()
  stream.destroy(new Error('broken'))
  await expect(next).rejects.toThrow('converted: broken')
})

test('an error before the first read, and an end without `end`, are errors', async () => {
  const broken = new PassThrough()
  broken.on('error', () => undefined)
  broken.destroy(new Error('broken'))
  await expect(textOf(broken)).rejects.toThrow('broken')
  const closed = new PassThrough()
  const read = textOf(closed)
  closed.destroy()
  await expect(read).rejects.toMatchObject({ code: 'ERR_STREAM_PREMATURE_CLOSE' })
})

test('a stream that is left early is destroyed, one that was read is not', async () => {
  const left = new PassThrough()
  left.write('a')
  for await (const _ of new StreamChunks(left)) break
  expect(left.destroyed).toBe(true)

  const agents = { http: new http.Agent({ keepAlive: true }), https: undefined as never }
  let connections = 0
  const server = http.createServer((_, response) => response.end('x'.repeat(100_000)))
  server.on('connection', () => connections++)
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  const send = httpSender(agents, 5000)
  for (const path of ['/a/../b', '/c']) {
    const answer = await send({ method: 'GET', url: { secure: false, host: '127.0.0.1', port, path }, headers: {} })
    expect(await textOf(answer)).toHaveLength(100_000)
    await new Promise((resolve) => setImmediate(resolve))
  }
  expect(connections).toBe(1)
  agents.http.destroy()
  server.close()
})
