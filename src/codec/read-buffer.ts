import { Kernel } from './kernels.ts'

/** By the memory of the kernel. */
const kernels = new WeakMap<ArrayBufferLike, Kernel>()

/**
 * A buffer in the memory of the kernels: page checks and block checksums of bytes that begin at its start need no copy. Its memory
 * does not move, because these functions allocate nothing.
 */
export function readBuffer(bytes: number): Buffer {
  const kernel = new Kernel()
  kernel.open(bytes)
  const { buffer } = kernel.bytes
  kernels.set(buffer, kernel)
  return Buffer.from(buffer, kernel.call.input_buffer(), bytes)
}

/** The kernel whose input buffer begins with these bytes; undefined: they must be copied. */
export function kernelWith(bytes: Uint8Array): Kernel | undefined {
  const kernel = kernels.get(bytes.buffer)
  return kernel?.call.input_buffer() === bytes.byteOffset ? kernel : undefined
}

/**
 * Calls a function that writes its result over the start of its input, and restores the input.
 *
 * @param bytes the input, in the memory of the kernel
 * @param resultBytes greatest size of the result
 */
export function keepingInput(bytes: Uint8Array, resultBytes: number, call: () => void): void {
  const length = Math.min(resultBytes, bytes.length)
  if (kept.length < length) kept = Buffer.allocUnsafeSlow(length)
  kept.set(bytes.subarray(0, length))
  call()
  bytes.set(kept.subarray(0, length))
}

let kept = Buffer.allocUnsafeSlow(0)
