import { Kernel } from './kernels.ts'
import { keepingInput, kernelWith } from './read-buffer.ts'

/**
 * Verifies page checksums with the rule of a backup: an unused page must be all zero; any other page must have the
 * checksum of its content and block number.
 * @see PostgreSQL, src/include/storage/checksum_impl.h
 *
 * @param buffer whole pages
 * @param firstBlock block number of the first page within its relation (segment number * pages per segment + page in
 * file)
 * @param headerCheck a page is unused if `pd_upper` is 0; without it, if `pd_checksum` is 0
 * @returns indexes of invalid pages in the buffer, ascending. The caller reads these again before it reports them,
 * because PostgreSQL may be writing them.
 */
export function verifyPages(buffer: Uint8Array, pageSize: number, firstBlock: number, headerCheck: boolean): number[] {
  // Page sizes of PostgreSQL are powers of two from 1 KiB; the kernel processes whole rows.
  if (pageSize % ROW_BYTES !== 0 || pageSize > INPUT_BYTES)
    return verifyPagesSlowly(buffer, pageSize, firstBlock, headerCheck)
  const suspects: number[] = []
  const pages = Math.floor(buffer.length / pageSize)
  const check = (kernel: Kernel, count: number, start: number) => {
    const found = kernel.call.verify_pages(count, pageSize, (firstBlock + start) >>> 0, headerCheck ? 1 : 0)
    if (found > 0) for (const index of kernel.inputWords(found)) suspects.push(start + index)
  }
  const own = kernelWith(buffer)
  if (own !== undefined) {
    keepingInput(buffer, pages * INDEX_BYTES, () => check(own, pages, 0))
    return suspects
  }
  kernel ??= openKernel()
  const pagesAtOnce = Math.floor(INPUT_BYTES / pageSize)
  for (let start = 0; start < pages; start += pagesAtOnce) {
    const count = Math.min(pagesAtOnce, pages - start)
    kernel.setInput(buffer.subarray(start * pageSize, (start + count) * pageSize))
    check(kernel, count, start)
  }
  return suspects
}

/** Size of the index of a suspect page. */
const INDEX_BYTES = 4
const ROW_BYTES = 128
const INPUT_BYTES = 1024 * 1024
let kernel: Kernel | undefined

function openKernel(): Kernel {
  const opened = new Kernel()
  opened.open(INPUT_BYTES)
  return opened
}

/** The same in JavaScript, ten times slower: for other page sizes, and to test the kernel. */
export function verifyPagesSlowly(
  buffer: Uint8Array,
  pageSize: number,
  firstBlock: number,
  headerCheck: boolean,
): number[] {
  const bad: number[] = []
  for (let index = 0; (index + 1) * pageSize <= buffer.length; index++) {
    const page = buffer.subarray(index * pageSize, (index + 1) * pageSize)
    const used = headerCheck ? page[14]! | page[15]! : page[8]! | page[9]!
    const stored = page[8]! | (page[9]! << 8)
    if (used === 0 ? !isZero(page) : pageChecksum(page, firstBlock + index) !== stored) bad.push(index)
  }
  return bad
}

function isZero(page: Uint8Array): boolean {
  for (let i = 0; i < page.length; i++) if (page[i] !== 0) return false
  return true
}

const FNV_PRIME = 16777619
const LANES = 32
// prettier-ignore
const BASE = Uint32Array.of(
  0x5b1f36e9, 0xb8525960, 0x02ab50aa, 0x1de66d2a, 0x79ff467a, 0x9bb9f8a3, 0x217e7cd2, 0x83e13d2c,
  0xf8d4474f, 0xe39eb970, 0x42c6ae16, 0x993216fa, 0x7b093b5d, 0x98daff3c, 0xf718902a, 0x0b1c9cdb,
  0xe58f764b, 0x187636bc, 0x5d7b3bb1, 0xe73de7de, 0x92bec979, 0xcca6c0b2, 0x304a0979, 0x85aa43d4,
  0x783125bb, 0x6ca8eaa2, 0xe407eac6, 0x4b5cfc3e, 0x9fbf8c76, 0x15ca20be, 0xf2ca9fd3, 0x959bd756,
)

/** The checksum that a page must have; the stored checksum is not part of the calculation. */
export function pageChecksum(page: Uint8Array, blockNumber: number): number {
  const view = new DataView(page.buffer, page.byteOffset, page.length)
  const sums = Int32Array.from(BASE)
  for (let offset = 0; offset < page.length; offset += 4) {
    const word = offset === 8 ? view.getUint32(offset, true) & 0xffff0000 : view.getUint32(offset, true)
    mix(sums, (offset >> 2) % LANES, word)
  }
  let result = 0
  for (let lane = 0; lane < LANES; lane++) {
    mix(sums, lane, 0)
    mix(sums, lane, 0)
    result ^= sums[lane]!
  }
  return (((result ^ blockNumber) >>> 0) % 65535) + 1
}

function mix(sums: Int32Array, lane: number, word: number): void {
  const mixed = sums[lane]! ^ word
  sums[lane] = Math.imul(mixed, FNV_PRIME) ^ (mixed >>> 17)
}
