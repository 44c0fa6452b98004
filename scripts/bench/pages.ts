import { pageChecksumPlain } from './page-checksum-plain.ts'
import { pageChecksum, verifyPages } from '../../src/codec/page-checksum.ts'

const PAGE = 8192

/** GB/s of one core: the page checksums of a buffer by WebAssembly, and by plain JavaScript. */
export function pageChecksumSpeeds(): { readonly wasm: number; readonly javascript: number } {
  const pages = 2048
  const buffer = Buffer.alloc(pages * PAGE)
  for (let i = 0; i < buffer.length; i += 4) buffer.writeUInt32LE(Math.imul(i, 2654435761) >>> 0, i)
  for (let i = 0; i < pages; i++) {
    const page = buffer.subarray(i * PAGE, (i + 1) * PAGE)
    page.writeUInt16LE(PAGE, 14)
    page.writeUInt16LE(pageChecksum(page, i), 8)
  }
  const plain = () => {
    for (let i = 0; i < pages; i++) {
      const page = buffer.subarray(i * PAGE, (i + 1) * PAGE)
      if (pageChecksumPlain(page, i) !== page.readUInt16LE(8))
        throw new Error(`plain JavaScript finds page ${i} damaged`)
    }
  }
  const wasm = () => {
    if (verifyPages(buffer, PAGE, 0, true).length > 0) throw new Error('WebAssembly finds damaged pages')
  }
  return { wasm: speed(wasm, buffer.length, 40), javascript: speed(plain, buffer.length, 4) }
}

function speed(work: () => void, bytes: number, rounds: number): number {
  work()
  const times: number[] = []
  for (let i = 0; i < rounds; i++) {
    const started = process.hrtime.bigint()
    work()
    times.push(Number(process.hrtime.bigint() - started))
  }
  return bytes / Math.min(...times)
}
