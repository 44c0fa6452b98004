import { pump } from '../../src/codec/pump.ts'
import type { Stage } from '../../src/codec/stage.ts'
import { sourceOf } from '../../src/util/bytes.ts'

/** Everything that comes out when `input` goes through the stages in chunks of at most `chunkBytes`. */
export async function through(stages: Stage | Stage[], input: Uint8Array, chunkBytes = 1 << 20): Promise<Buffer> {
  const outputs: Buffer[] = []
  // One buffer for all chunks, overwritten each time, because that is what file sources do.
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
  await pump(source, Array.isArray(stages) ? stages : [stages], { write: (chunk) => void outputs.push(Buffer.from(chunk)) })
  return Buffer.concat(outputs)
}
