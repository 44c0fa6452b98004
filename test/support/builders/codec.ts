import { pump } from '../../../src/codec/pump.ts'
import type { Stage } from '../../../src/codec/stage.ts'
import { sourceOf } from '../../../src/util/bytes.ts'

/** The output of the stages for `input` in chunks of at most `chunkBytes`. */
export async function through(stages: Stage | Stage[], input: Uint8Array, chunkBytes = 1 << 20): Promise<Buffer> {
  const outputs: Buffer[] = []
  // One buffer for all chunks, overwritten each time, as in file sources.
  const reused = Buffer.alloc(Math.min(chunkBytes, Math.max(1, input.length)))
  let offset = 0
  const source = {
    ...sourceOf(),
    next: () => {
      if (offset >= input.length) return undefined
      const part = input.subarray(offset, offset + chunkBytes)
      reused.fill(0xee)
      reused.set(part)
      offset += part.length
      return reused.subarray(0, part.length)
    },
  }
  await pump(source, Array.isArray(stages) ? stages : [stages], {
    write: (chunk) => void outputs.push(Buffer.from(chunk)),
  })
  return Buffer.concat(outputs)
}

/** `length` bytes that are the same for the same arguments. `text` compresses about as well as a heap table. */
export function compressible(length: number, kind: 'zero' | 'text' | 'random', seed: number): Buffer {
  const buffer = Buffer.alloc(length)
  if (kind === 'zero') return buffer
  let state = (seed ^ 0x9e3779b9) | 1
  const random = () => {
    state ^= state << 13
    state ^= state >>> 17
    state ^= state << 5
    return state >>> 0
  }
  if (kind === 'random') {
    for (let i = 0; i < length; i++) buffer[i] = random()
    return buffer
  }
  const words = ['insert', ' 00042 ', 'accounts', '\0\0\0\0', 'abalance', '  ', 'filler', '\n']
  for (let i = 0; i < length;)
    i += buffer.write(`${words[random() % words.length]}${random() % 1000}`, i, 'latin1') || 1
  return buffer
}
