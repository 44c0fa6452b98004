import { Kernel } from './kernels.ts'
import { keepingInput, kernelWith } from './read-buffer.ts'

const INPUT_BYTES = 1024 * 1024
const DIGEST_BYTES = 16
let kernel: Kernel | undefined
let kernelBytes = 0

/** XXH3 with 128 bits and seed 0: 16 bytes, big-endian, in the order in which it is printed. */
export function xxh3(block: Uint8Array): Buffer {
  const opened = openFor(block.length)
  opened.setInput(block)
  const start = opened.call.xxh3_128(block.length)
  return Buffer.from(opened.bytes.subarray(start, start + DIGEST_BYTES))
}

/**
 * The block checksums of a block incremental file: the first `checksumSize` bytes of the XXH3 of every block.
 *
 * @param bytes whole blocks; only the last may be shorter
 * @param checksumSize 1 to 16
 * @param into receives the checksums, concatenated, from `position` on
 */
export function blockChecksums(
  bytes: Uint8Array,
  blockSize: number,
  checksumSize: number,
  into: Uint8Array,
  position: number,
): void {
  let to = position
  const hash = (kernel: Kernel, length: number) => {
    kernel.call.xxh3_blocks(length, blockSize)
    const digests = kernel.input(Math.ceil(length / blockSize) * DIGEST_BYTES)
    for (let from = 0; from < digests.length; from += DIGEST_BYTES, to += checksumSize) {
      for (let i = 0; i < checksumSize; i++) into[to + i] = digests[from + i]!
    }
  }
  const own = kernelWith(bytes)
  if (own !== undefined) {
    const digestBytes = Math.ceil(bytes.length / blockSize) * DIGEST_BYTES
    keepingInput(bytes, digestBytes, () => hash(own, bytes.length))
    return
  }
  const opened = openFor(blockSize)
  const atOnce = Math.floor(kernelBytes / blockSize) * blockSize
  for (let start = 0; start < bytes.length; start += atOnce) {
    const part = bytes.subarray(start, start + atOnce)
    opened.setInput(part)
    hash(opened, part.length)
  }
}

/** Blocks larger than usual use an instance with a larger input buffer. */
function openFor(blockSize: number): Kernel {
  if (kernel === undefined || blockSize > kernelBytes) {
    kernel = new Kernel()
    kernelBytes = Math.max(INPUT_BYTES, blockSize)
    kernel.open(kernelBytes)
  }
  return kernel
}
