import { expect, test } from 'vitest'
import { pageChecksum, verifyPages, verifyPagesSlowly } from '../../../src/codec/page-checksum.ts'
import { kernelWith, readBuffer } from '../../../src/codec/read-buffer.ts'
import { blockChecksums, xxh3 } from '../../../src/codec/xxh3.ts'
import { compressible } from '../../support/builders/codec.ts'

const PAGE = 8192
const PAGES = 40

/** Bytes at the start of a read buffer, as after a read from a file. */
function inReadBuffer(bytes: Buffer): Buffer {
  const part = readBuffer(64 * PAGE).subarray(0, bytes.length)
  part.set(bytes)
  return part
}

test('page checks and block checksums in the read buffer give the same results, and leave the bytes as they were', () => {
  const bytes = compressible(PAGES * PAGE - 100, 'random', 3)
  for (let page = 0; page < PAGES - 1; page++)
    if (page % 7 > 0)
      bytes.writeUInt16LE(pageChecksum(bytes.subarray(page * PAGE, (page + 1) * PAGE), page), page * PAGE + 8)
  const part = inReadBuffer(bytes)
  expect(kernelWith(part)).toBeDefined()

  const found = verifyPages(part, PAGE, 0, true)
  expect(found).toEqual(verifyPagesSlowly(bytes, PAGE, 0, true))
  expect(found).toContain(0)
  expect(part.equals(bytes)).toBe(true)

  const checksums = new Uint8Array(PAGES * 6)
  blockChecksums(part, PAGE, 6, checksums, 0)
  for (let block = 0; block < PAGES; block++) {
    const expected = xxh3(bytes.subarray(block * PAGE, (block + 1) * PAGE)).subarray(0, 6)
    expect(Buffer.from(checksums.subarray(block * 6, (block + 1) * 6)).equals(expected)).toBe(true)
  }
  expect(part.equals(bytes)).toBe(true)
})

test('bytes elsewhere in a read buffer are copied to the kernels', () => {
  const bytes = compressible(2 * PAGE, 'random', 4)
  const part = readBuffer(3 * PAGE).subarray(PAGE)
  part.set(bytes)
  expect(kernelWith(part)).toBeUndefined()
  const checksums = new Uint8Array(32)
  blockChecksums(part, PAGE, 16, checksums, 0)
  expect(Buffer.from(checksums.subarray(16)).equals(xxh3(bytes.subarray(PAGE)))).toBe(true)
})
