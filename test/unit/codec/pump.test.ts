import { expect, test } from 'vitest'
import { pump } from '../../../src/codec/pump.ts'
import type { Stage } from '../../../src/codec/stage.ts'
import { sourceOf, type ByteSource } from '../../../src/util/bytes.ts'

const bytes = (text: string) => Buffer.from(text, 'latin1')
const later = () => new Promise<void>((resolve) => setImmediate(resolve))

/** Returns every character twice, and a mark at the end. */
function doubling(): Stage & { closed: number } {
  return {
    closed: 0,
    *push(chunk) {
      for (const byte of chunk) yield Buffer.from([byte, byte])
    },
    finish: () => [bytes('.')],
    close() {
      this.closed++
    },
  }
}

/** The same, asynchronously. */
function doublingLater(): Stage {
  return {
    async *push(chunk) {
      await later()
      for (const byte of chunk) yield Buffer.from([byte, byte])
    },
    async *finish() {
      await later()
      yield bytes('!')
    },
  }
}

function watched(source: ByteSource): ByteSource & { closed: number } {
  return {
    closed: 0,
    next: () => source.next(),
    async [Symbol.asyncDispose]() {
      this.closed++
    },
  }
}

const waitingSource = (...chunks: Buffer[]): ByteSource => {
  const source = sourceOf(...chunks)
  return { ...source, next: () => later().then(() => source.next()) }
}

test.each([
  ['at once', (...c: Buffer[]) => sourceOf(...c), doubling, false],
  ['with a source that waits', waitingSource, doubling, false],
  ['with a sink that waits', (...c: Buffer[]) => sourceOf(...c), doubling, true],
  ['with stages that wait', (...c: Buffer[]) => sourceOf(...c), doublingLater, false],
  ['with everything that waits', waitingSource, doublingLater, true],
])('pump passes bytes through all stages in order, %s', async (_, source, stage, sinkWaits) => {
  let text = ''
  let busy = false
  const write = async (chunk: Uint8Array) => {
    expect(busy, 'the sink was called while it was busy').toBe(false)
    busy = true
    await later()
    busy = false
    text += Buffer.from(chunk).toString('latin1')
  }
  const sink = {
    write: sinkWaits ? write : (chunk: Uint8Array) => void (text += Buffer.from(chunk).toString('latin1')),
  }
  await pump(source(bytes('ab'), bytes(''), bytes('c')), [stage(), doubling()], sink)
  const end = stage === doubling ? '..' : '!!'
  expect(text).toBe(`aaaabbbbcccc${end}.`)
})

test('pump passes nothing when there are no bytes', async () => {
  const chunks: string[] = []
  const sink = { write: (chunk: Uint8Array) => void chunks.push(Buffer.from(chunk).toString()) }
  await pump(sourceOf(bytes('x')), [], sink)
  await pump(sourceOf(), [doubling()], sink)
  expect(chunks).toEqual(['x', '.'])
})

test('pump closes source and stages after success and after every failure', async () => {
  const fail = () => {
    throw new Error('broken')
  }
  const failLater = () => Promise.reject(new Error('broken'))
  for (const kind of ['none', 'source', 'source later', 'push', 'finish', 'sink', 'sink later']) {
    const stage = doubling()
    const source = watched(sourceOf(bytes('a')))
    if (kind === 'source') source.next = fail
    if (kind === 'source later') source.next = failLater
    const breaking: Stage = { push: kind === 'push' ? fail : (c) => [c], finish: kind === 'finish' ? fail : () => [] }
    const write = kind === 'sink' ? fail : kind === 'sink later' ? failLater : () => undefined
    const pumping = pump(source, [stage, breaking], { write })
    if (kind === 'none') await pumping
    else await expect(pumping, kind).rejects.toThrow('broken')
    expect([source.closed, stage.closed], kind).toEqual([1, 1])
  }
})

test('pump rejects with the reason when the signal is aborted, before and in the middle', async () => {
  const early = watched(sourceOf(bytes('a')))
  const reason = new Error('stop now')
  await expect(pump(early, [], { write: () => undefined }, AbortSignal.abort(reason))).rejects.toBe(reason)
  expect(early.closed).toBe(1)

  const controller = new AbortController()
  let written = 0
  const endless: ByteSource = { ...sourceOf(), next: () => bytes('x') }
  const sink = { write: () => void (++written === 5 && controller.abort(reason)) }
  await expect(pump(endless, [], sink, controller.signal)).rejects.toBe(reason)
  expect(written).toBe(5)
})

test('pump processes a hundred thousand chunks without deepening the stack', async () => {
  let left = 100_000
  let written = 0
  const source: ByteSource = { ...sourceOf(), next: () => (left-- > 0 ? bytes('x') : undefined) }
  await pump(source, [doubling(), doubling()], { write: (chunk) => void (written += chunk.length) })
  expect(written).toBe(400_003)
})
