import { createHash, randomBytes } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import { any, binary, byteString, field, int64, integer, nothing, record, text } from '../../../src/remote/fields.ts'
import { onCall, onDownload, onRows, onUpload } from '../../../src/remote/handlers.ts'
import { MOST_STREAMS } from '../../../src/remote/limits.ts'
import { callVerb, downloadVerb, rowsVerb, uploadVerb } from '../../../src/remote/verb.ts'
import { readAll, sourceOf, type ByteSource } from '../../../src/util/bytes.ts'
import { asBytes } from '../../../src/util/byte-string.ts'
import { PgtsError } from '../../../src/util/error.ts'
import { CALLER, connectionPair, deferred } from '../../support/remote/connection-pair.ts'

const MIB = 1024 * 1024
const add = callVerb('add', record({ a: field(1, int64), b: field(2, int64) }), record({ sum: field(1, int64) }))
const fail = callVerb('fail', nothing, nothing)
const wait = callVerb('wait', nothing, nothing)
const put = uploadVerb(
  'put',
  record({ name: field(1, text) }),
  record({ keep: field(1, text) }),
  record({ sha1: field(1, text) }),
)
const get = downloadVerb('get', record({ size: field(1, integer) }), record({ size: field(1, integer) }))
const count = rowsVerb('count', record({ to: field(1, integer) }), nothing, record({ n: field(1, integer) }))
const echo = callVerb('echo', record({ bytes: field(1, binary) }), record({ bytes: field(1, binary) }))

const adding = onCall(add, async ({ a, b }) => ({ sum: a + b }))
const echoing = onCall(echo, async ({ bytes }) => ({ bytes: Buffer.from(bytes) }))
const sha1 = (bytes: Uint8Array) => createHash('sha1').update(bytes).digest('hex')

/** A handler that waits until it is cancelled, and reports both. */
function waiting() {
  const seen = { started: deferred(), cancelled: deferred<unknown>() }
  const handler = onCall(wait, async (_, { signal }) => {
    seen.started.resolve()
    await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve()))
    seen.cancelled.resolve(signal.reason)
    return {}
  })
  return { seen, handler }
}

describe('a request', () => {
  test('is answered, in both directions, with 64-bit integers', async () => {
    await using pair = await connectionPair({ serving: { handlers: [adding] }, caller: { handlers: [adding] } })
    const far = 2n ** 62n
    expect(await pair.caller.call(add, { a: far, b: far })).toEqual({ sum: 2n ** 63n })
    expect(await pair.serving.call(add, { a: -5n, b: 3n })).toEqual({ sum: -2n })
  })

  test('rejects with code, message, hints and the name of the connection when the handler fails', async () => {
    const failing = onCall(fail, async () => {
      throw new PgtsError('file-open', "cannot open 'a\u00e9': permission denied", {
        hints: ['chmod it'],
        denied: true,
      })
    })
    await using pair = await connectionPair({ serving: { handlers: [failing] } })
    await expect(pair.caller.call(fail, {})).rejects.toMatchObject({
      code: 'file-open',
      message: `raised from ${CALLER}: cannot open 'a\u00e9': permission denied`,
      hints: ['chmod it'],
      denied: true,
    })
  })

  test('with an unknown verb or field is an error, and the connection goes on', async () => {
    await using pair = await connectionPair({ serving: { handlers: [adding] } })
    await expect(pair.caller.call(fail, {})).rejects.toMatchObject({ code: 'protocol' })
    const more = record({ a: field(1, int64), b: field(2, int64), c: field(3, int64) })
    const later = callVerb('add', more, record({ sum: field(1, int64) }))
    await expect(pair.caller.call(later, { a: 1n, b: 2n, c: 3n })).rejects.toThrow('a field is unknown')
    expect(await pair.caller.call(add, { a: 1n, b: 2n })).toEqual({ sum: 3n })
  })

  test('of many frames arrives whole', async () => {
    await using pair = await connectionPair({ serving: { handlers: [echoing] } })
    const bytes = randomBytes(5 * MIB + 1)
    expect(Buffer.from((await pair.caller.call(echo, { bytes })).bytes).equals(bytes)).toBe(true)
  })

  test('waits for a free stream when too many are open', async () => {
    let running = 0
    let most = 0
    const release = deferred()
    const handler = onCall(add, async ({ a, b }) => {
      most = Math.max(most, ++running)
      if (running === MOST_STREAMS) release.resolve()
      await release.promise
      running--
      return { sum: a + b }
    })
    await using pair = await connectionPair({ serving: { handlers: [handler] } })
    const calls = Array.from({ length: 1000 }, (_, i) => pair.caller.call(add, { a: BigInt(i), b: 1n }))
    expect((await Promise.all(calls)).map(({ sum }) => Number(sum))).toEqual(calls.map((_, i) => i + 1))
    expect(most).toBe(MOST_STREAMS)
  })

  test('that is cancelled aborts its handler, and rejects with the reason of its signal', async () => {
    const { seen, handler } = waiting()
    await using pair = await connectionPair({ serving: { handlers: [handler] } })
    const abort = new AbortController()
    const call = pair.caller.call(wait, {}, { signal: abort.signal })
    await seen.started.promise
    abort.abort(new PgtsError('term', 'terminated'))
    await expect(call).rejects.toThrow('terminated')
    expect(await seen.cancelled.promise).toMatchObject({ code: 'term' })
  })
})

describe('an upload', () => {
  /** Hashes what it receives. */
  const hashing = onUpload(put, async ({ name }, body) => {
    const hash = createHash('sha1').update(name)
    for (let chunk = await body.next(); chunk !== undefined; chunk = await body.next()) hash.update(chunk)
    return { sha1: hash.update(body.end.keep).digest('hex') }
  })

  test.each([0, 1, 262_143, 262_144, 262_145, 20 * MIB + 7])('of %i bytes arrives unchanged', async (size) => {
    await using pair = await connectionPair({ serving: { handlers: [hashing] } })
    const bytes = randomBytes(size)
    await using upload = pair.caller.upload(put, { name: 'a' })
    for (let at = 0; at < size; at += 100_000) {
      const chunk = Buffer.from(bytes.subarray(at, at + 100_000))
      await upload.sink.write(chunk)
      chunk.fill(0)
    }
    expect(await upload.finish({ keep: 'z' })).toEqual({
      sha1: sha1(Buffer.concat([Buffer.from('a'), bytes, Buffer.from('z')])),
    })
  })

  test('stops at 2 MiB when the handler does not read, while other requests go on', async () => {
    const release = deferred()
    const late = onUpload(put, async (_, body) => {
      await body.next()
      await release.promise
      let size = 0
      for (let chunk = await body.next(); chunk !== undefined; chunk = await body.next()) size += chunk.length
      return { sha1: `${size}` }
    })
    await using pair = await connectionPair({ serving: { handlers: [late, adding] } })
    await using upload = pair.caller.upload(put, { name: 'a' })
    let written = 0
    const writing = (async () => {
      for (; written < 8 * MIB; written += MIB) await upload.sink.write(new Uint8Array(MIB))
    })()
    // More round trips than it could need to send everything.
    for (let i = 0; i < 50; i++) await pair.caller.call(add, { a: 1n, b: 1n })
    expect(written).toBeLessThanOrEqual(3 * MIB)
    release.resolve()
    await writing
    const { sha1: rest } = await upload.finish({ keep: '' })
    expect(Number(rest)).toBeGreaterThanOrEqual(7 * MIB)
  })

  test('that is discarded ends the handler before disposal resolves', async () => {
    const events: string[] = []
    const discarding = onUpload(put, async (_, body) => {
      try {
        for (let chunk = await body.next(); chunk !== undefined; chunk = await body.next()) events.push('bytes')
        return { sha1: '' }
      } finally {
        events.push('discarded')
      }
    })
    await using pair = await connectionPair({ serving: { handlers: [discarding] } })
    {
      await using upload = pair.caller.upload(put, { name: 'a' })
      await upload.sink.write(new Uint8Array(300_000))
    }
    expect(events.at(-1)).toBe('discarded')
  })

  test('rejects with the error of the handler, and the rest of the body is dropped', async () => {
    const full = onUpload(put, async (_, body) => {
      await body.next()
      throw new PgtsError('file-write', 'no space left on device')
    })
    await using pair = await connectionPair({ serving: { handlers: [full, adding] } })
    await using upload = pair.caller.upload(put, { name: 'a' })
    const writing = (async () => {
      for (let i = 0; i < 100; i++) await upload.sink.write(new Uint8Array(MIB))
    })()
    await expect(writing).rejects.toMatchObject({ code: 'file-write' })
    expect(await pair.caller.call(add, { a: 1n, b: 2n })).toEqual({ sum: 3n })
  })
})

describe('a download', () => {
  const zeros = (size: number): ByteSource => {
    let left = size
    return {
      next: () => {
        const chunk = new Uint8Array(Math.min(left, 65_536))
        left -= chunk.length
        return chunk.length === 0 ? undefined : chunk
      },
      [Symbol.asyncDispose]: async () => undefined,
    }
  }

  test.each([0, 1, 262_145, 20 * MIB + 7])('of %i bytes arrives unchanged', async (size) => {
    const bytes = randomBytes(size)
    const getting = onDownload(get, async ({ size }) => ({
      answer: { size },
      body: sourceOf(...(size === 0 ? [] : [bytes])),
    }))
    await using pair = await connectionPair({ serving: { handlers: [getting] } })
    const download = await pair.caller.download(get, { size })
    expect(download.answer).toEqual({ size })
    expect((await readAll(download)).equals(bytes)).toBe(true)
  })

  test('that fails in the middle rejects after the bytes before', async () => {
    const broken = onDownload(get, async ({ size }) => {
      const body: ByteSource = {
        next: () => Promise.reject(new PgtsError('file-read', 'input/output error')),
        [Symbol.asyncDispose]: async () => undefined,
      }
      return { answer: { size }, body }
    })
    await using pair = await connectionPair({ serving: { handlers: [broken] } })
    await using download = await pair.caller.download(get, { size: 1 })
    await expect((async () => await download.next())()).rejects.toMatchObject({ code: 'file-read' })
  })

  test('that is cancelled before its answer ends at the other end', async () => {
    const [started, release, closed] = [deferred(), deferred(), deferred()]
    const late = onDownload(get, async ({ size }) => {
      started.resolve()
      await release.promise
      return { answer: { size }, body: { ...zeros(Infinity), [Symbol.asyncDispose]: async () => closed.resolve() } }
    })
    await using pair = await connectionPair({ serving: { handlers: [late, adding] } })
    const abort = new AbortController()
    const download = pair.caller.download(get, { size: 0 }, { signal: abort.signal })
    await started.promise
    abort.abort(new PgtsError('term', 'terminated'))
    await pair.caller.ping()
    release.resolve()
    await expect(download).rejects.toThrow('terminated')
    await closed.promise
  })

  test('that is not read to its end closes its source', async () => {
    const closed = deferred()
    const endless = onDownload(get, async ({ size }) => ({
      answer: { size },
      body: { ...zeros(Infinity), [Symbol.asyncDispose]: async () => closed.resolve() },
    }))
    await using pair = await connectionPair({ serving: { handlers: [endless, adding] } })
    {
      await using download = await pair.caller.download(get, { size: 0 })
      await download.next()
    }
    await closed.promise
    expect(await pair.caller.call(add, { a: 1n, b: 2n })).toEqual({ sum: 3n })
  })

  test('does not wait for another one that is not read', async () => {
    const getting = onDownload(get, async ({ size }) => ({ answer: { size }, body: zeros(size) }))
    await using pair = await connectionPair({ serving: { handlers: [getting] } })
    const idle = await Promise.all(Array.from({ length: 40 }, () => pair.caller.download(get, { size: 10 * MIB })))
    for (const download of idle) await download.next()
    const read = await readAll(await pair.caller.download(get, { size: 3 * MIB }))
    expect(read.length).toBe(3 * MIB)
    for (const download of idle) await download[Symbol.asyncDispose]()
  })
})

describe('rows', () => {
  const counting = onRows(count, async ({ to }) => ({
    answer: {},
    rows: (function* () {
      for (let n = 1; n <= to; n++) yield { n }
    })(),
  }))

  test('arrive in order, however many', async () => {
    await using pair = await connectionPair({ serving: { handlers: [counting] } })
    for (const to of [0, 1, 200_000]) {
      let last = 0
      let inOrder = true
      for await (const { n } of await pair.caller.rows(count, { to })) inOrder &&= n === ++last
      expect([last, inOrder]).toEqual([to, true])
    }
  })

  test('end at the other end when the loop is left', async () => {
    const closed = deferred()
    const endless = onRows(count, async () => ({
      answer: {},
      rows: (async function* () {
        try {
          for (let n = 1; ; n++) yield { n }
        } finally {
          closed.resolve()
        }
      })(),
    }))
    await using pair = await connectionPair({ serving: { handlers: [endless] } })
    for await (const { n } of await pair.caller.rows(count, { to: 0 })) if (n === 100_000) break
    await closed.promise
  })
})

describe('the end of a connection', () => {
  test('rejects what is pending with host-connect, and cancels handlers', async () => {
    const { seen, handler } = waiting()
    await using pair = await connectionPair({ serving: { handlers: [handler] } })
    const call = pair.caller.call(wait, {})
    await seen.started.promise
    pair.sockets[0].destroy()
    await expect(call).rejects.toMatchObject({ code: 'host-connect', message: `${CALLER} terminated unexpectedly` })
    expect(await seen.cancelled.promise).toMatchObject({ code: 'host-connect' })
    await Promise.all([pair.caller.ended, pair.serving.ended])
    await expect(pair.caller.call(wait, {})).rejects.toMatchObject({ code: 'host-connect' })
  })

  test('by BYE names the reason at the other end, and waits for handlers', async () => {
    const { seen, handler } = waiting()
    await using pair = await connectionPair({ serving: { handlers: [handler] } })
    const call = pair.caller.call(wait, {})
    await seen.started.promise
    const left = pair.serving.bye('the configuration has changed')
    await expect(call).rejects.toMatchObject({
      code: 'host-connect',
      message: `${CALLER} has closed the connection: the configuration has changed`,
    })
    await left
  })

  test('is not reported as an error when it is closed here', async () => {
    const pair = await connectionPair({ serving: { handlers: [adding] } })
    await pair.caller[Symbol.asyncDispose]()
    await pair.serving.ended
    expect(pair.serving.signal.reason).toMatchObject({ code: 'host-connect' })
  })
})

test('log records and pings reach the other end', async () => {
  const records: unknown[] = []
  await using pair = await connectionPair({ caller: { onLog: (record) => records.push(record) } })
  pair.serving.log({ level: 'detail', message: 'copied f\u00e9', process: 3 })
  for (let i = 0; i < 3000; i++) pair.serving.log({ level: 'info', message: 'x'.repeat(20_000) })
  await pair.serving.ping()
  await pair.caller.ping()
  expect(records[0]).toEqual({ level: 'detail', message: 'copied f\u00e9', process: 3 })
  expect(records.length).toBeLessThanOrEqual(2001)
})

test('until its first verb has been answered, a serving end accepts no other', async () => {
  const opening = callVerb('open', record({ stanza: field(1, byteString) }), any)
  const handlers = [onCall(opening, async () => null), adding]
  const options = { serving: { handlers, opensWith: 'open' } }
  await using good = await connectionPair(options)
  await good.caller.call(opening, { stanza: asBytes('main') })
  expect(await good.caller.call(add, { a: 1n, b: 1n })).toEqual({ sum: 2n })
  await using bad = await connectionPair(options)
  await expect(bad.caller.call(add, { a: 1n, b: 1n })).rejects.toMatchObject({ code: 'host-connect' })
  expect(bad.serving.signal.reason).toMatchObject({ code: 'protocol' })
})
