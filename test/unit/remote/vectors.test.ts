import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { encodeFrame, FRAME, FrameDecoder, type FrameHead } from '../../../src/remote/frame.ts'
import { callingLine, PROTOCOLS, servingLine } from '../../../src/remote/greeting.ts'
import { decodeValue, encodeValue, type Value } from '../../../src/remote/value.ts'
import { encodeError } from '../../../src/remote/errors.ts'
import { encodeLog } from '../../../src/remote/records.ts'
import { PgtsError } from '../../../src/util/error.ts'

/**
 * The bytes of protocol 1, written by hand from docs/decisions/0051-wire-protocol.md and RFC 8949. Other releases send
 * and expect them: a change needs a new protocol number.
 */
const vectors = (file: string) =>
  readFileSync(new URL(`../../vectors/wire/1/${file}.hex`, import.meta.url), 'utf8')
    .trimEnd()
    .split('\n')
    .map((line) => line.split(' ') as [name: string, hex: string])

const VALUES: Readonly<Record<string, Value>> = {
  zero: 0,
  twentyThree: 23,
  twentyFour: 24,
  byte: 255,
  twoBytes: 256,
  fourBytes: 65_536,
  eightBytes: 2 ** 32,
  largestSafe: Number.MAX_SAFE_INTEGER,
  beyondSafe: 2n ** 53n,
  systemId: 6569239123849665679n,
  largest: 2n ** 64n - 1n,
  minusOne: -1,
  smallest: -(2n ** 63n),
  half: 0.5,
  minusZero: -0,
  notANumber: NaN,
  true: true,
  false: false,
  null: null,
  text: 'na\u00efve',
  bytes: Buffer.from([0, 255]),
  list: [1, [2, 3]],
  fields: new Map<number, Value>([
    [1, 'a'],
    [24, []],
  ]),
}

const REQUEST = encodeValue(['stat', new Map([[1, Buffer.from('archive/main')]])])
const FRAMES: Readonly<Record<string, readonly [FrameHead, Uint8Array]>> = {
  request: [{ type: FRAME.request, stream: 1 }, REQUEST],
  requestWithBody: [{ type: FRAME.request, stream: 3, body: true }, REQUEST],
  partOfRequest: [{ type: FRAME.request, stream: 5, more: true }, REQUEST.subarray(0, 3)],
  answer: [{ type: FRAME.answer, stream: 1 }, encodeValue(null)],
  answerWithBody: [{ type: FRAME.answer, stream: 1, body: true }, encodeValue(new Map())],
  data: [{ type: FRAME.data, stream: 2 }, Buffer.from('bytes')],
  end: [{ type: FRAME.end, stream: 2 }, encodeValue(new Map([[1, true]]))],
  credit: [{ type: FRAME.credit, stream: 2 }, Buffer.from([0, 4, 0, 0])],
  cancel: [{ type: FRAME.cancel, stream: 4_294_967_295 }, Buffer.alloc(0)],
  error: [
    { type: FRAME.error, stream: 1 },
    encodeValue(encodeError(new PgtsError('file-missing', 'no \u00e4', { hints: ['look'], denied: true }))),
  ],
  ping: [{ type: FRAME.ping }, Buffer.alloc(8)],
  pong: [{ type: FRAME.pong }, Buffer.from([1, 2, 3, 4, 5, 6, 7, 8])],
  log: [{ type: FRAME.log }, encodeLog({ level: 'detail', message: 'copied', process: 2 })],
  bye: [{ type: FRAME.bye }, encodeValue('done')],
}

test.each(vectors('values'))('the value %s has the bytes of protocol 1', (name, hex) => {
  expect(encodeValue(VALUES[name]!).toString('hex')).toBe(hex)
  expect(decodeValue(Buffer.from(hex, 'hex'))).toEqual(VALUES[name])
})

test.each(vectors('frames'))('the frame %s has the bytes of protocol 1', (name, hex) => {
  const [head, payload] = FRAMES[name]!
  expect(encodeFrame(head, payload).toString('hex')).toBe(hex)
  const expected = { more: false, body: false, stream: 0, ...head, payload: Buffer.from(payload) }
  expect([...new FrameDecoder().push(Buffer.from(hex, 'hex'))]).toEqual([expected])
})

test('no vector is missing', () => {
  expect(vectors('values').map(([name]) => name)).toEqual(Object.keys(VALUES))
  expect(vectors('frames').map(([name]) => name)).toEqual(Object.keys(FRAMES))
})

test('the greeting has the numbers of this release', () => {
  expect(servingLine(PROTOCOLS)).toBe(
    '{"name":"pgts (install pgts on both hosts)","version":"0.0.0-source","protocol":[1,1]}\n',
  )
  expect(callingLine(1)).toBe('{"name":"pgts","version":"0.0.0-source","protocol":1}\n')
})
