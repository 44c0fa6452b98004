import { expect, test } from 'vitest'
import { compressor, decompressor, loadCodec } from '../../../src/codec/registry.ts'
import { pump } from '../../../src/codec/pump.ts'
import { sourceOf } from '../../../src/util/bytes.ts'
import { onIdle } from '../../../src/util/idle-memory.ts'
import { releaseMemory } from '../../../src/util/release-memory.ts'
import { until } from '../../support/until.ts'

test('drops what modules keep, and codecs work afterwards', async () => {
  await loadCodec('zst')
  const input = Buffer.from('WAL '.repeat(10_000))
  const roundTrip = async () => {
    const parts: Buffer[] = []
    const sink = { write: (chunk: Uint8Array) => void parts.push(Buffer.from(chunk)) }
    await pump(sourceOf(input), [compressor('zst', 3, { contentBytes: input.length }), decompressor('zst')], sink)
    return Buffer.concat(parts)
  }
  let dropped = 0
  onIdle(() => dropped++)
  for (let round = 1; round <= 2; round++) {
    expect((await roundTrip()).equals(input)).toBe(true)
    releaseMemory()
    expect(dropped).toBe(round)
  }
})

const SIZE = 64 * 1024 * 1024

/** In a function of its own: the frame of the test could hold a reference, too. */
function keepBuffer(): void {
  const kept: Buffer[] = []
  kept.push(Buffer.alloc(SIZE, 1))
  onIdle(() => (kept.length = 0))
}

test('collects buffers outside the heap', async () => {
  keepBuffer()
  const before = process.memoryUsage().arrayBuffers
  // V8 frees buffers on another thread, some time after the collection.
  const isCollected = () => {
    releaseMemory()
    return before - process.memoryUsage().arrayBuffers >= SIZE
  }
  await until('the collection', isCollected, { everyMs: 50 })
})
