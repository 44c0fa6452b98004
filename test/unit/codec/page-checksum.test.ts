import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { pageChecksum, verifyPages, verifyPagesSlowly } from '../../../src/codec/page-checksum.ts'
import { compressible } from '../../support/builders/codec.ts'

const PAGE = 8192

/** Pages of noise with the checksum that belongs to their block number. */
function pages(count: number, firstBlock: number, pageSize = PAGE, seed = 1): Buffer {
  const buffer = compressible(count * pageSize, 'random', seed)
  for (let index = 0; index < count; index++) {
    const page = buffer.subarray(index * pageSize, (index + 1) * pageSize)
    page.writeUInt16LE(pageSize, 14)
    page.writeUInt16LE(pageChecksum(page, firstBlock + index), 8)
  }
  return buffer
}

describe.each([
  ['the kernel', verifyPages],
  ['plain JavaScript', verifyPagesSlowly],
])('%s', (_, verify) => {
  test('reports no error for valid pages', () => {
    expect(verify(pages(300, 131_072), PAGE, 131_072, true)).toEqual([])
    expect(verify(Buffer.alloc(0), PAGE, 0, true)).toEqual([])
  })

  test('reports a flipped bit at any position', () => {
    for (let at = 0; at < PAGE; at += 61) {
      const buffer = pages(3, 7)
      buffer[PAGE + at]! ^= 1
      expect(verify(buffer, PAGE, 7, true), `byte ${at}`).toEqual([1])
    }
  })

  test('reports pages that are stored at another block', () => {
    expect(verify(pages(3, 5), PAGE, 6, true)).toEqual([0, 1, 2])
  })

  test('reports indexes in order when there are more than its buffer holds', () => {
    const buffer = pages(400, 0)
    for (const index of [0, 127, 128, 129, 399]) buffer[index * PAGE + 4000]! ^= 255
    expect(verify(buffer, PAGE, 0, true)).toEqual([0, 127, 128, 129, 399])
  })

  test('accepts an unused page only when it is all zeros', () => {
    const buffer = Buffer.alloc(3 * PAGE)
    expect(verify(buffer, PAGE, 0, true)).toEqual([])
    expect(verify(buffer, PAGE, 0, false)).toEqual([])
    buffer[2 * PAGE - 1] = 1
    expect(verify(buffer, PAGE, 0, true)).toEqual([1])
    expect(verify(buffer, PAGE, 0, false)).toEqual([1])
  })

  test('detects an unused page by its checksum field without header check', () => {
    const buffer = pages(1, 0)
    buffer.writeUInt16LE(0, 14)
    buffer.writeUInt16LE(pageChecksum(buffer, 0), 8)
    expect(verify(buffer, PAGE, 0, true)).toEqual([0])
    expect(verify(buffer, PAGE, 0, false)).toEqual([])
  })

  test('computes the checksum for the largest block number', () => {
    expect(verify(pages(1, 0xfffffffe), PAGE, 0xfffffffe, true)).toEqual([])
  })

  test.each([1024, 2048, 4096, 16_384, 32_768])('computes checksums of pages of %i bytes', (size) => {
    const buffer = pages(5, 3, size)
    expect(verify(buffer, size, 3, true)).toEqual([])
    buffer[4 * size + 200]! ^= 2
    expect(verify(buffer, size, 3, true)).toEqual([4])
  })
})

test('the WebAssembly kernel and plain JavaScript compute the same checksum for any page', () => {
  const cases = fc.property(
    fc.integer(),
    fc.nat(2 ** 31),
    fc.boolean(),
    fc.nat(4),
    (seed, block, headerCheck, damage) => {
      const buffer = pages(4, block, PAGE, seed)
      for (let i = 0; i < damage; i++) buffer[Math.abs(seed * 31 + i * 7919) % buffer.length]! ^= 1
      expect(verifyPages(buffer, PAGE, block, headerCheck)).toEqual(verifyPagesSlowly(buffer, PAGE, block, headerCheck))
    },
  )
  fc.assert(cases, { numRuns: 50 })
})

test.each([
  [0, 43596],
  [5, 43591],
  [131_072, 43594],
])('the checksum that PostgreSQL gives a known page as block %i', (block, checksum) => {
  const page = Buffer.from(Uint8Array.from({ length: PAGE }, (_, i) => i * 7 + 3))
  expect(pageChecksum(page, block)).toBe(checksum)
  page.writeUInt16LE(checksum, 8)
  expect(verifyPages(page, PAGE, block, true)).toEqual([])
})
