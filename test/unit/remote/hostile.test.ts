import type { Socket } from 'node:net'
import { describe, expect, test } from 'vitest'
import { socketChannel } from '../../../src/remote/channel.ts'
import { accept, connect } from '../../../src/remote/connect.ts'
import type { Connection, ConnectionOptions } from '../../../src/remote/connection.ts'
import { field, integer, nothing, record } from '../../../src/remote/fields.ts'
import { encodeFrame, FRAME, FrameDecoder, type Frame, type FrameHead } from '../../../src/remote/frame.ts'
import { callingLine, servingLine } from '../../../src/remote/greeting.ts'
import { onCall, onDownload, onUpload } from '../../../src/remote/handlers.ts'
import { FIRST_CREDIT, MOST_MESSAGE, MOST_PAYLOAD, MOST_STREAMS, MOST_UNANSWERED } from '../../../src/remote/limits.ts'
import { encodeValue, type Value } from '../../../src/remote/value.ts'
import { callVerb, downloadVerb, uploadVerb } from '../../../src/remote/verb.ts'
import { CALLER, socketPair } from '../../support/remote/connection-pair.ts'

const wait = callVerb('wait', nothing, nothing)
const put = uploadVerb('put', nothing, nothing, nothing)
const get = downloadVerb('get', record({ size: field(1, integer) }), nothing)

/** Its handlers wait, and count the cancellations. */
function handlers() {
  const counts = { running: 0, cancelled: 0 }
  const untilCancelled = async (signal: AbortSignal) => {
    counts.running++
    await new Promise((resolve) => signal.addEventListener('abort', resolve))
    counts.running--
    counts.cancelled++
    return {}
  }
  const zeros = { next: () => new Uint8Array(MOST_PAYLOAD), [Symbol.asyncDispose]: async () => undefined }
  return {
    counts,
    list: [
      onCall(wait, (_, { signal }) => untilCancelled(signal)),
      onUpload(put, (_, _body, { signal }) => untilCancelled(signal)),
      onDownload(get, async () => ({ answer: {}, body: zeros })),
    ],
  }
}

/** The other end as raw frames. */
class RawPeer {
  readonly received: Frame[] = []
  #decoder: FrameDecoder | undefined
  #notify: (() => void) | undefined

  constructor(
    readonly socket: Socket,
    readonly connection: Connection,
  ) {
    socket.on('error', () => undefined)
  }

  send(head: FrameHead, payload: Uint8Array = new Uint8Array()): void {
    this.socket.write(encodeFrame(head, payload))
  }

  request(stream: number, verb: string, fields: Value = new Map(), more: Partial<FrameHead> = {}): void {
    this.send({ type: FRAME.request, stream, ...more }, encodeValue([verb, fields]))
  }

  /** Keeps the frames of the other end from now on. */
  listen(): void {
    this.#decoder = new FrameDecoder()
    this.socket.on('data', (bytes: Buffer) => {
      this.received.push(...this.#decoder!.push(bytes))
      this.#notify?.()
    })
  }

  /** The first frame of this type. */
  async frame(type: number): Promise<Frame> {
    for (;;) {
      const found = this.received.find((frame) => frame.type === type)
      if (found !== undefined) return found
      await new Promise<void>((resolve) => (this.#notify = resolve))
    }
  }
}

const LIMITS = { ioTimeoutMs: 60_000, protocolTimeoutMs: 60_000 }

/** A serving end with a raw caller; the greeting is over. */
async function rawCaller(options: Partial<ConnectionOptions> = {}): Promise<RawPeer> {
  const [caller, serving] = await socketPair()
  caller.write(callingLine(1))
  const connection = await accept(socketChannel(serving, 'the caller'), { ...LIMITS, ...options })
  await new Promise((resolve) => caller.once('data', resolve))
  return new RawPeer(caller, connection)
}

/** A caller with a raw serving end. */
async function rawServing(options: Partial<ConnectionOptions> = {}): Promise<RawPeer> {
  const [caller, serving] = await socketPair()
  serving.write(servingLine([1, 1]))
  const host = { host: 'far', hostCommandOption: 'repo1-host-cmd' }
  const connection = await connect(socketChannel(caller, CALLER), { ...LIMITS, ...options, ...host })
  await new Promise((resolve) => serving.once('data', resolve))
  return new RawPeer(serving, connection)
}

const DATA = Buffer.alloc(MOST_PAYLOAD)
const BODY = { body: true }
const credit = (bytes: number) => {
  const payload = Buffer.alloc(4)
  payload.writeUInt32BE(bytes)
  return payload
}

/** What a caller may not do, and the reason that the serving end reports. */
const FAULTS: readonly [string, (peer: RawPeer) => void, string][] = [
  ['sends bytes that are no frame', ({ socket }) => socket.write('GET / HTTP/1.1\r\n\r\n'), 'invalid frame'],
  [
    'sends a request that is no value',
    (peer) => peer.send({ type: FRAME.request, stream: 1 }, Buffer.from([0x9f])),
    'invalid value',
  ],
  [
    'sends a request without fields',
    (peer) => peer.send({ type: FRAME.request, stream: 1 }, encodeValue(['wait'])),
    'not a verb',
  ],
  ['opens a stream again', (peer) => [1, 1].forEach((id) => peer.request(id, 'wait')), 'stream 1 was opened before'],
  [
    'opens a stream with a smaller number',
    (peer) => [5, 3].forEach((id) => peer.request(id, 'wait')),
    'stream 3 was opened before',
  ],
  ['opens a stream of the serving end', (peer) => peer.request(2, 'wait'), 'not valid for stream 2'],
  [
    'answers its own request',
    (peer) => peer.send({ type: FRAME.answer, stream: 1 }, encodeValue(null)),
    'not valid for stream 1',
  ],
  [
    'answers a request that was not sent',
    (peer) => peer.send({ type: FRAME.answer, stream: 2 }, encodeValue(null)),
    'stream 2 was not opened',
  ],
  [
    'opens too many streams',
    (peer) => {
      for (let i = 0; i <= MOST_STREAMS; i++) peer.request(2 * i + 1, 'wait')
    },
    `more than ${MOST_STREAMS} streams`,
  ],
  [
    'sends a body for a stream that was not opened',
    (peer) => peer.send({ type: FRAME.data, stream: 1 }, DATA),
    'stream 1 was not opened',
  ],
  [
    'sends a body that it has not announced',
    (peer) => {
      peer.request(1, 'wait')
      peer.send({ type: FRAME.data, stream: 1 }, DATA)
    },
    'a body is unexpected',
  ],
  [
    'sends more than its credit',
    (peer) => {
      peer.request(1, 'put', new Map(), BODY)
      for (let sent = 0; sent <= FIRST_CREDIT; sent += DATA.length) peer.send({ type: FRAME.data, stream: 1 }, DATA)
    },
    'exceeds the credit',
  ],
  [
    'grants more credit than allowed',
    (peer) => {
      peer.request(1, 'get', new Map([[1, 1]]))
      peer.send({ type: FRAME.credit, stream: 1 }, credit(2 ** 32 - 1))
    },
    'credit',
  ],
  [
    'sends more after the end of a body',
    (peer) => {
      peer.request(1, 'put', new Map(), BODY)
      peer.send({ type: FRAME.end, stream: 1 }, encodeValue(new Map()))
      peer.send({ type: FRAME.data, stream: 1 }, DATA)
    },
    'a body is unexpected',
  ],
  [
    'interrupts a message by another one',
    (peer) => {
      peer.request(1, 'put', new Map(), { more: true, body: true })
      peer.send({ type: FRAME.end, stream: 1 }, encodeValue(new Map()))
    },
    'interrupted',
  ],
  [
    'never ends a message',
    (peer) => {
      for (let sent = 0; sent <= MOST_MESSAGE; sent += DATA.length)
        peer.send({ type: FRAME.request, stream: 1, more: true }, DATA)
    },
    `larger than ${MOST_MESSAGE}`,
  ],
  [
    'never ends many messages',
    (peer) => {
      for (let stream = 1, sent = 0; sent <= MOST_UNANSWERED; sent += DATA.length, stream += 2)
        peer.send({ type: FRAME.request, stream, more: true }, DATA)
    },
    `larger than ${MOST_UNANSWERED}`,
  ],
]

describe('a serving end closes the connection with the reason, and cancels its handlers, when the caller', () => {
  test.each(FAULTS)('%s', async (_, fault, reason) => {
    const { list, counts } = handlers()
    const peer = await rawCaller({ handlers: list })
    peer.listen()
    fault(peer)
    const bye = await peer.frame(FRAME.bye)
    expect(bye.payload.toString()).toContain(reason)
    expect(peer.connection.signal.reason).toMatchObject({ code: 'protocol', message: expect.stringContaining(reason) })
    await peer.connection.ended
    expect(counts.running).toBe(0)
  })
})

describe('a caller ends the connection, and its request rejects, when the serving end', () => {
  const ANSWER = { type: FRAME.answer, stream: 1 } as const
  const cases: readonly [string, (peer: RawPeer) => void, string][] = [
    ['sends bytes that are no frame', ({ socket }) => socket.write('Last login: yesterday\n'), 'invalid frame'],
    ['answers with a body', (peer) => peer.send({ ...ANSWER, body: true }, encodeValue(new Map())), 'unexpected'],
    ['sends a body before its answer', (peer) => peer.send({ type: FRAME.data, stream: 1 }, DATA), 'unexpected'],
    ['cancels the request', (peer) => peer.send({ type: FRAME.cancel, stream: 1 }), 'cancelled by the end that serves'],
    ['sends a log record that is none', (peer) => peer.send({ type: FRAME.log }, encodeValue(1)), 'record expected'],
    ['opens a stream of the caller', (peer) => peer.request(3, 'wait'), 'not valid for stream 3'],
  ]
  test.each(cases)('%s', async (_, fault, reason) => {
    const peer = await rawServing()
    const call = peer.connection.call(wait, {})
    fault(peer)
    await expect(call).rejects.toMatchObject({
      code: 'protocol',
      message: expect.stringMatching(new RegExp(`^${CALLER}: .*${reason}`)),
    })
    await peer.connection.ended
  })

  test('answers with another type of fields, and then goes on', async () => {
    const peer = await rawServing()
    const call = peer.connection.call(wait, {})
    peer.send(ANSWER, encodeValue('done'))
    await expect(call).rejects.toMatchObject({ code: 'protocol' })
    const next = peer.connection.call(wait, {})
    peer.send({ ...ANSWER, stream: 3 }, encodeValue(new Map()))
    await next
  })
})

describe('another end that', () => {
  test('does not read makes no unlimited queue: its connection ends after io-timeout', async () => {
    const { list } = handlers()
    const peer = await rawCaller({ handlers: list, ioTimeoutMs: 300 })
    peer.socket.pause()
    for (let i = 0; i < 100; i++) peer.request(2 * i + 1, 'get', new Map([[1, 1]]))
    for (let i = 0; i < 100_000; i++) peer.send({ type: FRAME.ping }, Buffer.alloc(8))
    await peer.connection.ended
    expect(peer.connection.signal.reason).toMatchObject({
      code: 'host-connect',
      message: expect.stringContaining('has read nothing'),
    })
  })

  test('sends nothing is asked by PING, and its connection ends after protocol-timeout', async () => {
    const peer = await rawServing({ protocolTimeoutMs: 400 })
    peer.listen()
    const call = peer.connection.call(wait, {})
    await expect(call).rejects.toMatchObject({
      code: 'host-connect',
      message: expect.stringContaining('has sent nothing'),
    })
    expect(peer.received.map(({ type }) => type)).toContain(FRAME.ping)
  })

  test('sends bytes of a body one by one is served in little memory', async () => {
    const { list, counts } = handlers()
    const peer = await rawCaller({ handlers: list })
    peer.listen()
    const before = process.memoryUsage()
    const one = encodeFrame({ type: FRAME.data, stream: 1 }, Buffer.from([1]))
    peer.request(1, 'put', new Map(), BODY)
    const many = Buffer.alloc(one.length * FIRST_CREDIT)
    for (let i = 0; i < FIRST_CREDIT; i++) one.copy(many, i * one.length)
    peer.socket.write(many)
    peer.send({ type: FRAME.ping }, Buffer.alloc(8))
    await peer.frame(FRAME.pong)
    const after = process.memoryUsage()
    expect(after.heapUsed + after.external - before.heapUsed - before.external).toBeLessThan(64 * 1024 * 1024)
    expect(counts.running).toBe(1)
    peer.socket.destroy()
    await peer.connection.ended
  })
})
