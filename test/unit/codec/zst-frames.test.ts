import { spawnSync } from 'node:child_process'
import { beforeAll, describe, expect, it } from 'vitest'
import { compressor, loadCodec } from '../../../src/codec/registry.ts'
import { ZstFrames } from '../../../src/codec/zst-frames.ts'
import { compressible, through } from '../../support/builders/codec.ts'

const SKIPPABLE = Buffer.from('5e2a4d18030000000a0b0c', 'hex')
const EMPTY_SKIPPABLE = Buffer.from('502a4d1800000000', 'hex')

interface Frame {
  readonly bytes: Buffer
  readonly skippable: boolean
}

/** Every frame, joined from its pieces, with input in chunks of this length. */
function split(stored: Buffer, chunkBytes: number): { readonly frames: readonly Frame[]; readonly complete: boolean } {
  const splitter = new ZstFrames()
  const frames: Frame[] = []
  let pieces: Buffer[] = []
  for (let at = 0; at < stored.length; at += chunkBytes) {
    for (const { bytes, begins, ends, skippable } of splitter.split(stored.subarray(at, at + chunkBytes))) {
      expect(begins).toBe(pieces.length === 0)
      pieces.push(Buffer.from(bytes))
      if (!ends) continue
      frames.push({ bytes: Buffer.concat(pieces), skippable })
      pieces = []
    }
  }
  return { frames, complete: splitter.complete }
}

let ours: Buffer[]
beforeAll(async () => {
  await loadCodec('zst')
  const inputs = [
    compressible(150_000, 'text', 1),
    compressible(1000, 'random', 2),
    Buffer.alloc(500_000),
    Buffer.alloc(0),
  ]
  const written = inputs.map((input) => through(compressor('zst', 3), input))
  ours = await Promise.all([...written, through(compressor('zst', 3, { contentBytes: 150_000 }), inputs[0]!)])
})

describe('frames', () => {
  it.each([3, 1000, 1 << 20])('are recognised in chunks of %i bytes', (chunkBytes) => {
    const all = [SKIPPABLE, ...ours, EMPTY_SKIPPABLE, ours[0]!, SKIPPABLE]
    const { frames, complete } = split(Buffer.concat(all), chunkBytes)
    expect(frames.map(({ bytes }) => bytes.equals(all[frames.findIndex((frame) => frame.bytes === bytes)]!))).toEqual(
      all.map(() => true),
    )
    expect(frames.map(({ skippable }) => skippable)).toEqual(
      all.map((frame) => frame === SKIPPABLE || frame === EMPTY_SKIPPABLE),
    )
    expect(complete).toBe(true)
  })

  it('are incomplete when the last one is truncated at any byte', async () => {
    const frame = await through(compressor('zst', 3), compressible(700, 'text', 3))
    const stored = Buffer.concat([SKIPPABLE, frame])
    for (let cut = 0; cut < stored.length; cut++) {
      // After a whole frame the file may end.
      expect(split(stored.subarray(0, cut), 7).complete, `cut at ${cut}`).toBe(cut === SKIPPABLE.length)
    }
  })

  it('are refused when the input does not start with one', () => {
    expect(() => split(Buffer.concat([ours[0]!, Buffer.from('none')]), 1000)).toThrow(
      'zst data is corrupt: it has no Zstandard header',
    )
  })
})

const HAS_ZSTD = spawnSync('zstd', ['--version']).status === 0
const OPTIONS = [['--check'], ['--no-check', '--no-content-size'], ['-19', '--long=27'], ['--fast=5']]

describe.runIf(HAS_ZSTD)('frames of the zstd command', () => {
  it.each(OPTIONS)('are read to their end with %s', (...options) => {
    for (const input of [compressible(600_000, 'text', 4), compressible(100, 'random', 5), Buffer.alloc(300_000)]) {
      const frame = spawnSync('zstd', ['-c', '-q', ...options], { input, maxBuffer: 1 << 26 }).stdout
      expect(split(Buffer.concat([frame, frame]), 997)).toMatchObject({
        complete: true,
        frames: [{ skippable: false }, {}],
      })
    }
  })
})
