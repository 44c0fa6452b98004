import { Kernel } from './kernels.ts'

const INPUT_BYTES = 1024 * 1024
let kernel: Kernel | undefined

/**
 * XXH3 with 128 bits and seed 0, the block checksum of block incremental files: 16 bytes, big-endian, as it is printed.
 * @param block at most 1 MiB
 */
export function xxh3(block: Uint8Array): Buffer {
  if (kernel === undefined) {
    kernel = new Kernel()
    kernel.open(INPUT_BYTES)
  }
  if (block.length > INPUT_BYTES) throw new RangeError(`a block of ${block.length} bytes is too large to hash at once`)
  kernel.setInput(block)
  const start = kernel.call.xxh3_128(block.length)
  return Buffer.from(kernel.bytes.subarray(start, start + 16))
}
