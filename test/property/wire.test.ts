import fc from 'fast-check'
import { readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { encodeFrame, FRAME, FrameDecoder, HEADER_BYTES, type Frame, type FrameType } from '../../src/remote/frame.ts'
import { MOST_DEPTH, MOST_PAYLOAD } from '../../src/remote/limits.ts'
import { decodeValue, encodeValue, type Value } from '../../src/remote/value.ts'
import { isPgtsError } from '../../src/util/error.ts'

const { values } = fc.letrec<{ value: Value; values: Value }>((tie) => ({
  value: fc.oneof(
    { maxDepth: 5, depthSize: 'small' },
    fc.constant(null),
    fc.boolean(),
    fc.maxSafeInteger(),
    fc.double(),
    fc.bigInt({ min: -(2n ** 63n), max: 2n ** 64n - 1n }),
    fc.string({ unit: 'grapheme' }),
    fc.uint8Array({ maxLength: 300 }).map((bytes) => Buffer.from(bytes)),
    fc.array(tie('value'), { maxLength: 8 }),
    fc
      .uniqueArray(fc.tuple(fc.nat(255), tie('value')), { maxLength: 8, selector: ([key]) => key })
      .map((fields) => new Map(fields.sort(([a], [b]) => a - b))),
  ),
  values: tie('value'),
}))

/** The value after a round trip: a safe bigint becomes a number. */
function asDecoded(value: Value): Value {
  if (typeof value === 'bigint') return Number.isSafeInteger(Number(value)) ? Number(value) : value
  if (Array.isArray(value)) return (value as readonly Value[]).map(asDecoded)
  if (value instanceof Map) return new Map([...value].map(([key, item]) => [key as number, asDecoded(item as Value)]))
  return value
}

/** The value, or undefined for an error [039]; every other error fails the test. */
function decoded(bytes: Uint8Array): { readonly value: Value } | undefined {
  try {
    return { value: decodeValue(bytes) }
  } catch (error) {
    if (isPgtsError(error, 'protocol')) return undefined
    throw error
  }
}

describe('values', () => {
  test('survive a round trip', () => {
    fc.assert(
      fc.property(values, (value) => {
        expect(decodeValue(encodeValue(value))).toEqual(asDecoded(value))
      }),
    )
  })

  test('have exactly one encoding: bytes that can be decoded are encoded again as the same bytes', () => {
    const check = (bytes: Uint8Array) => {
      const found = decoded(bytes)
      if (found !== undefined) expect(Buffer.from(bytes).equals(encodeValue(found.value))).toBe(true)
    }
    fc.assert(fc.property(fc.uint8Array({ maxLength: 40 }), check), { numRuns: 5000 })
    const flipped = fc.tuple(values, fc.nat(), fc.nat(7)).map(([value, at, bit]) => {
      const bytes = encodeValue(value)
      bytes[at % bytes.length]! ^= 1 << bit
      return bytes
    })
    fc.assert(fc.property(flipped, check), { numRuns: 2000 })
  })

  test.each([
    ['an array longer than the message', '9affffffff'],
    ['a map longer than the message', 'bbffffffffffffffff'],
    ['a byte string longer than the message', '5b7fffffffffffffff'],
    ['too many levels', '81'.repeat(MOST_DEPTH + 1) + '00'],
    ['a key that is repeated', 'a200000000'],
    ['keys in the wrong order', 'a201000000'],
    ['an indefinite length', '9f00ff'],
    ['a tag', 'c000'],
    ['a number with more bytes than it needs', '1817'],
    ['a float of two bytes', 'f93c00'],
    ['a text that is not UTF-8', '61ff'],
    ['-2^63 - 1', '3b8000000000000000'],
    ['bytes after the value', '0000'],
    ['nothing', ''],
  ])('with %s are refused', (_, hex) => {
    expect(() => decodeValue(Buffer.from(hex, 'hex'))).toThrow('invalid value in a message')
  })

  test('cannot use much more memory than their bytes', () => {
    // Empty maps, byte strings, arrays and texts, which need a byte each.
    for (const item of [0xa0, 0x40, 0x80, 0x60]) {
      const bytes = Buffer.alloc(1024 * 1024, item)
      bytes.writeUInt8(0x9a, 0)
      bytes.writeUInt32BE(bytes.length - 5, 1)
      const before = process.memoryUsage().heapUsed
      expect(() => decodeValue(bytes)).toThrow('values')
      expect(process.memoryUsage().heapUsed - before).toBeLessThan(200 * 1024 * 1024)
    }
  })
})

const payloadOf: Record<number, fc.Arbitrary<Uint8Array>> = {
  [FRAME.credit]: fc.uint8Array({ minLength: 4, maxLength: 4 }),
  [FRAME.cancel]: fc.constant(new Uint8Array()),
  [FRAME.ping]: fc.uint8Array({ minLength: 8, maxLength: 8 }),
  [FRAME.pong]: fc.uint8Array({ minLength: 8, maxLength: 8 }),
}
const types = Object.values(FRAME)
const frames: fc.Arbitrary<Frame> = fc.constantFrom(...types).chain((type: FrameType) =>
  fc.record({
    type: fc.constant(type),
    more: ([FRAME.request, FRAME.answer, FRAME.end, FRAME.error] as FrameType[]).includes(type)
      ? fc.boolean()
      : fc.constant(false),
    body: ([FRAME.request, FRAME.answer] as FrameType[]).includes(type) ? fc.boolean() : fc.constant(false),
    stream: type >= FRAME.ping ? fc.constant(0) : fc.integer({ min: 1, max: 2 ** 32 - 1 }),
    payload: (payloadOf[type] ?? fc.uint8Array({ minLength: 1, maxLength: 60 })).map((bytes) => Buffer.from(bytes)),
  }),
)

/** Feeds the bytes in pieces that end at these positions. */
function decodeSplit(bytes: Buffer, ends: readonly number[], decoder = new FrameDecoder()): Frame[] {
  const found: Frame[] = []
  let from = 0
  for (const end of [...ends.map((end) => end % (bytes.length + 1)), bytes.length].sort((a, b) => a - b)) {
    found.push(...decoder.push(Buffer.from(bytes.subarray(from, end))))
    from = end
  }
  return found
}

describe('frames', () => {
  test('are the same for any split of their bytes', () => {
    fc.assert(
      fc.property(fc.array(frames, { maxLength: 12 }), fc.array(fc.nat(), { maxLength: 20 }), (sent, ends) => {
        const bytes = Buffer.concat(sent.map((frame) => encodeFrame(frame, frame.payload)))
        expect(decodeSplit(bytes, ends)).toEqual(sent)
      }),
    )
  })

  test('of DATA have the same bytes in pieces, of which each but the last has the mark MORE', () => {
    fc.assert(
      fc.property(fc.array(frames, { maxLength: 12 }), fc.array(fc.nat(), { maxLength: 20 }), (sent, ends) => {
        const bytes = Buffer.concat(sent.map((frame) => encodeFrame(frame, frame.payload)))
        const joined: Frame[] = []
        let parts: Buffer[] = []
        for (const frame of decodeSplit(bytes, ends, new FrameDecoder({ joinsData: false }))) {
          parts.push(frame.payload)
          if (frame.type === FRAME.data && frame.more) continue
          joined.push({ ...frame, payload: Buffer.concat(parts) })
          parts = []
        }
        expect(joined).toEqual(sent)
      }),
    )
  })

  test('of any bytes are valid or refused, and no more than one payload is held', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), fc.array(fc.nat(), { maxLength: 5 }), (bytes, ends) => {
        try {
          for (const { payload } of decodeSplit(Buffer.from(bytes), ends))
            expect(payload.length).toBeLessThanOrEqual(MOST_PAYLOAD)
        } catch (error) {
          if (!isPgtsError(error, 'protocol')) throw error
        }
      }),
      { numRuns: 3000 },
    )
  })

  test.each([
    ['a payload that is too large', '0004000101000000000000017b'],
    ['type 0', '000000010000000000000001'],
    ['type 12', '000000010c00000000000000'],
    ['an unknown flag', '000000010104000000000001'],
    ['MORE of DATA', '000000010301000000000001'],
    ['BODY of END', '000000010402000000000001'],
    ['reserved bytes', '000000010100000100000001'],
    ['REQUEST of stream 0', '000000010100000000000000'],
    ['PING of stream 1', '000000080800000000000001'],
    ['PING of 7 bytes', '000000070800000000000000'],
    ['empty DATA', '000000000300000000000001'],
  ])('with %s are refused before their payload arrives', (_, hex) => {
    expect(() => [...new FrameDecoder().push(Buffer.from(hex, 'hex').subarray(0, HEADER_BYTES))]).toThrow(
      'invalid frame',
    )
  })
})

describe('vectors of protocol 1', () => {
  const frames = readFileSync(new URL('../vectors/wire/1/frames.hex', import.meta.url), 'utf8')
  const vectors = frames
    .trimEnd()
    .split('\n')
    .map((line) => Buffer.from(line.split(' ')[1]!, 'hex'))

  test('with a flipped bit are valid or refused', () => {
    for (const bytes of vectors) {
      for (let bit = 0; bit < bytes.length * 8; bit++) {
        const flipped = Buffer.from(bytes)
        flipped[bit >> 3]! ^= 1 << (bit & 7)
        try {
          for (const { payload } of decodeSplit(flipped, [])) decoded(payload)
        } catch (error) {
          if (!isPgtsError(error, 'protocol')) throw error
        }
      }
    }
  })
})
