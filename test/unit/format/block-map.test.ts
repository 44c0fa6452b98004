import { describe, expect, test } from 'vitest'
import { parseBlockMap, serialiseBlockMap, type BlockMap } from '../../../src/format/block-map.ts'
import { unzigzag, VarintReader, VarintWriter, zigzag } from '../../../src/format/varint.ts'
import { isPgtsError } from '../../../src/util/error.ts'

const hex = (text: string) => Buffer.from(text.replace(/[\s|]/g, ''), 'hex')

/** Maps of one table that the real pgbackrest 2.59.1 wrote: a full, and the incr after a diff on it. */
const FULL = hex(
  `00 07 01 e5 a3 33 d3 13 0c | de78e41a8ed4 5e4f0994081d 7c7ce354876b e1ab6e6d2c58 b0cff871e520 0c9b50aa05e4`,
)
const INCR = hex(`
  00 06 01 e5 a3 33 d7 13 0c 00 de 78 e4 1a 8e d4 0e 01 42 b9 17 7e 5e 1f a0 f2 6d 06 01 01 7c 7c
  e3 54 87 6b 16 01 42 ff 0e 04 00 cd 81 73 9f 79 1f 06 03 01 b0 cf f8 71 e5 20 0c 9b 50 aa 05 e4
  17 00 bb de 2a d9 3a 85`)
const shape = (blockCount: number) => ({ blockSize: 8192, checksumSize: 6, blockCount })

const inFull = { reference: 0, bundleId: 1, offset: 840165, storedBytes: 314, plainBytes: 49152 }
const inDiff = { reference: 1, bundleId: 1, offset: 66, storedBytes: 126, plainBytes: 8192 }
const inIncr = { reference: 2, bundleId: 1, offset: 66, storedBytes: 194, plainBytes: 16384 }

describe('block maps of a chain written by pgbackrest', () => {
  test('the map of a full lists all blocks of its super block', () => {
    const map = parseBlockMap(FULL, shape(6))
    expect(map.blocks).toEqual([0, 1, 2, 3, 4, 5].map((index) => ({ superBlock: inFull, index })))
    expect(Buffer.from(map.checksums).toString('hex')).toBe(FULL.subarray(9).toString('hex'))
    expect(serialiseBlockMap(map).toString('hex')).toBe(FULL.toString('hex'))
  })
  test('the map of an incr lists blocks of three backups in file order', () => {
    const map = parseBlockMap(INCR, shape(7))
    expect(map.blocks).toEqual([
      { superBlock: inFull, index: 0 },
      { superBlock: inDiff, index: 0 },
      { superBlock: inFull, index: 2 },
      { superBlock: inIncr, index: 0 },
      { superBlock: inFull, index: 4 },
      { superBlock: inFull, index: 5 },
      { superBlock: inIncr, index: 1 },
    ])
    expect(new Set(map.blocks.map(({ superBlock }) => superBlock)).size).toBe(3)
    expect(serialiseBlockMap(map).toString('hex')).toBe(INCR.toString('hex'))
  })
})

describe('parsing fails when the bytes are not a block map', () => {
  const incr = (change: (bytes: Buffer) => void) => {
    const bytes = Buffer.from(INCR)
    change(bytes)
    return bytes
  }
  test.each<[string, Buffer, number, string]>([
    ['nothing', Buffer.alloc(0), 7, 'too short for 7 blocks'],
    ['cut at any place', INCR.subarray(0, -1), 7, 'ends too early'],
    ['bytes behind it', Buffer.concat([INCR, Buffer.of(0)]), 7, 'bytes follow its end'],
    ['fewer blocks than the file has', INCR, 8, 'it lists 7 blocks of 8'],
    ['more blocks than the file has', INCR, 6, 'it lists more than 6 blocks'],
    ['another version', incr((bytes) => (bytes[0] = 1)), 7, 'of an unknown version'],
    ['blocks beyond the end of a super block', incr((bytes) => (bytes[29] = 9)), 7, 'more blocks than it contains'],
    ['a super block of no bytes', incr((bytes) => bytes.fill(0x80, 6, 7).fill(0x01, 7, 8)), 7, 'corrupt'],
    ['a number of more than 53 bits', Buffer.concat([hex('00 06 ffffffffffffffffff01'), INCR]), 7, 'out of range'],
    ['a number without end', Buffer.alloc(60, 0xff), 7, 'out of range'],
    ['more blocks than the bytes could hold', INCR, 1e9, 'too short for 1000000000 blocks'],
  ])('%s', (_, bytes, blockCount, message) => {
    const parse = () => parseBlockMap(bytes, shape(blockCount))
    expect(parse).toThrow(message)
    try {
      parse()
    } catch (error) {
      expect(isPgtsError(error, 'format')).toBe(true)
    }
  })
})

test('serialising fails as an assertion when the format cannot express the order', () => {
  const { blocks, checksums } = parseBlockMap(INCR, shape(7))
  const map = (order: number[]): BlockMap => ({ ...shape(0), blocks: order.map((i) => blocks[i]!), checksums })
  expect(() => serialiseBlockMap(map([2, 0]))).toThrow('order')
  expect(() => serialiseBlockMap(map([4, 1, 0]))).toThrow('number')
  const moved = { superBlock: { ...inFull, offset: 5 }, index: 0 }
  expect(() => serialiseBlockMap({ ...map([0]), blocks: [blocks[0]!, moved] })).toThrow('order')
})

describe('varints', () => {
  test.each([0, 1, 127, 128, 16383, 16384, 2 ** 31, 2 ** 32 + 5, 2 ** 50, Number.MAX_SAFE_INTEGER])('%d', (value) => {
    const writer = new VarintWriter()
    writer.put(value)
    writer.put(value)
    const reader = new VarintReader(writer.result(), 'test')
    expect([reader.next(), reader.next(), reader.atEnd]).toEqual([value, value, true])
  })
  test.each([
    [0, 0],
    [-1, 1],
    [1, 2],
    [-2, 3],
    [2 ** 40, 2 ** 41],
    [-(2 ** 40), 2 ** 41 - 1],
  ])('zigzag of %d is %d', (value, encoded) => {
    expect(zigzag(value)).toBe(encoded)
    expect(unzigzag(encoded)).toBe(value)
  })
})
