import { beforeAll, expect, test } from 'vitest'
import { digest } from '../../../src/codec/digest.ts'
import { compressor, decompressor, loadCodec } from '../../../src/codec/registry.ts'
import { through } from '../../support/builders/codec.ts'

// Bytes that pgBackRest 2.59.1 wrote, from the appendix of the format's description.
const hex = (text: string) => Buffer.from(text.replaceAll(' ', ''), 'hex')
const nothing = Buffer.alloc(0)
const line = Buffer.from('15\n')

beforeAll(() => Promise.all((['none', 'gz', 'lz4', 'zst'] as const).map(loadCodec)))

test.each([
  ['gz', 1, false, nothing, '1f 8b 08 00 00 00 00 00 04 03 03 00 00 00 00 00 00 00 00 00'],
  ['gz', 6, true, line, '78 9c 33 34 e5 02 00 01 0a 00 71'],
  ['zst', 3, false, nothing, '28 b5 2f fd 20 00 01 00 00'],
  ['zst', 3, false, line, '28 b5 2f fd 00 58 19 00 00 31 35 0a'],
  ['lz4', 1, false, nothing, '04 22 4d 18 44 40 5e 00 00 00 00 05 5d cc 02'],
  ['lz4', 1, true, line, '04 22 4d 18 40 40 c0 03 00 00 80 31 35 0a 00 00 00 00'],
] as const)(
  '%s level %i raw %s writes what pgBackRest writes, and reads it',
  async (type, level, raw, plain, stored) => {
    expect((await through(compressor(type, level, { raw }), plain)).toString('hex')).toBe(hex(stored).toString('hex'))
    expect(await through(decompressor(type, { raw }), hex(stored))).toEqual(plain)
  },
)

test('digest returns SHA-1 and number of bytes, also for empty input', async () => {
  const tap = digest('sha1')
  expect(tap.hex()).toBe('da39a3ee5e6b4b0d3255bfef95601890afd80709')
  const other = digest('sha1')
  expect(await through(other, Buffer.from('abc'), 1)).toEqual(Buffer.from('abc'))
  expect([other.bytes, other.hex()]).toEqual([3, 'a9993e364706816aba3e25717850c26c9cd0d89d'])
})
