import { spawnSync } from 'node:child_process'
import { gunzipSync } from 'node:zlib'
import fc from 'fast-check'
import { beforeAll, describe, expect, test } from 'vitest'
import { CODECS, compressor, decompressor, loadCodec } from '../../src/codec/registry.ts'
import type { Stage } from '../../src/codec/stage.ts'
import { ZstFrames } from '../../src/codec/zst-frames.ts'
import { openZst } from '../../src/codec/zst.ts'
import { openNodeZst } from '../../src/codec/zst-node.ts'
import { isPgtsError } from '../../src/util/error.ts'
import { compressible, through } from '../support/builders/codec.ts'

const types = ['gz', 'lz4', 'zst', 'bz2'] as const
type Written = (typeof types)[number]

beforeAll(() => Promise.all(['none' as const, ...types].map(loadCodec)))

/** Lengths around the sizes at which codecs change their behaviour, and contents from all zero to random. */
const inputs = fc
  .record({
    length: fc.oneof(
      fc.nat(300),
      fc.nat(200_000),
      fc.constantFrom(65_535, 65_536, 65_537, 262_143, 262_144, 262_145, 1_048_577),
    ),
    kind: fc.constantFrom('zero' as const, 'text' as const, 'random' as const),
    seed: fc.integer(),
  })
  .map(({ length, kind, seed }) => Object.assign(compressible(length, kind, seed), { label: `${kind} ${length}` }))
const chunkings = fc.constantFrom(100, 4096, 65_536, 100_000, 1 << 20)

const levelsOf = (type: Written) => fc.integer(CODECS[type].level!)

describe.each(types)('%s', (type) => {
  test('decompressing returns the input for any data, level and chunk size', async () => {
    const cases = fc.asyncProperty(
      inputs,
      levelsOf(type),
      chunkings,
      chunkings,
      fc.boolean(),
      async (input, level, a, b, raw) => {
        const stored = await through(compressor(type, Math.min(level, 19), { raw }), input, a)
        expect((await through(decompressor(type, { raw }), stored, b)).equals(input)).toBe(true)
      },
    )
    await fc.assert(cases, { numRuns: 40 })
  })

  test('decompressing returns the input when the size was given, in one chunk or in many', async () => {
    for (const length of [0, 1, 300_000, 17 << 20, 5 << 20, 70_000]) {
      if (type === 'bz2' && length > 1 << 20) continue
      const input = compressible(length, length % 2 === 0 ? 'text' : 'random', length)
      const known = () => compressor(type, CODECS[type].level!.min > 1 ? undefined : 1, { contentBytes: length })
      const one = await through(known(), input, Math.max(1, length))
      const many = await through(known(), input, 65_000)
      expect((await through(decompressor(type), one)).equals(input)).toBe(true)
      expect((await through(decompressor(type), many, 100_000)).equals(input)).toBe(true)
    }
  })

  test.each(allLevels(type))('decompressing returns a mixed megabyte compressed at level %i', async (level) => {
    const input = Buffer.concat([compressible(500_000, 'text', level), compressible(500_000, 'random', level)])
    const stored = await through(compressor(type, level), input)
    // Level 0 of gz stores.
    if (type !== 'gz' || level !== 0) expect(stored.length).toBeLessThan(input.length)
    expect((await through(decompressor(type), stored)).equals(input)).toBe(true)
  })

  test.each(['zero', 'text', 'random'] as const)('decompressing returns many megabytes of %s', async (kind) => {
    // bzip2 is slow, and its blocks are small.
    const input = compressible((type === 'bz2' ? 2 : 12) << 20, kind, 7)
    const stored = await through(compressor(type), input)
    if (kind === 'zero') expect(stored.length).toBeLessThan(100_000)
    expect((await through(decompressor(type), stored)).equals(input)).toBe(true)
  })

  test.each([false, true])(
    'reports a format error that names the codec when the input is truncated at any byte (raw %s)',
    async (raw) => {
      for (const length of [0, 3, 700]) {
        const stored = await through(compressor(type, undefined, { raw }), compressible(length, 'text', 3))
        for (let cut = 0; cut < stored.length; cut++) {
          const reading = through(decompressor(type, { raw }), stored.subarray(0, cut), 97)
          await expect(reading, `${length} bytes cut at ${cut}`).rejects.toThrow(`${type} data is truncated`)
          await reading.catch((error: unknown) => expect(isPgtsError(error, 'format')).toBe(true))
        }
      }
    },
  )

  test('reports a format error when a large file is truncated', async () => {
    const stored = await through(compressor(type), compressible(1 << 20, 'random', 5))
    for (const cut of [1, 4, 8, 9, 1000, 1 << 19])
      await expect(through(decompressor(type), stored.subarray(0, -cut))).rejects.toThrow(`${type} data is truncated`)
  })

  test('reports a format error for most changed bytes, and never hangs', async () => {
    const input = compressible(2000, 'text', 11)
    const stored = await through(compressor(type), input)
    let noticed = 0
    for (let at = 0; at < stored.length; at++) {
      const bent = Buffer.from(stored)
      bent[at]! ^= 0x10
      try {
        await through(decompressor(type), bent)
      } catch (error) {
        expect(isPgtsError(error, 'format'), String(error)).toBe(true)
        noticed++
      }
    }
    // zst frames have no checksum in this format: the SHA-1 of the manifest detects what the frame does not.
    expect(noticed).toBeGreaterThan(stored.length * (type === 'zst' ? 0.05 : 0.9))
  })

  test('a stage abandoned in the middle does not affect the next file', async () => {
    const left = compressor(type)
    for await (const _ of left.push(compressible(100_000, 'random', 1)));
    left.close?.()
    left.close?.()
    const input = compressible(50_000, 'text', 2)
    const stored = await through(compressor(type), input)
    const half = decompressor(type)
    for await (const _ of half.push(stored.subarray(0, stored.length / 2)));
    half.close?.()
    expect((await through(decompressor(type), stored)).equals(input)).toBe(true)
  })

  test('two files can be processed at the same time', async () => {
    const [a, b] = [compressible(300_000, 'text', 21), compressible(300_000, 'text', 22)]
    const stages = [compressor(type), compressor(type)] as const
    const outputs: Buffer[][] = [[], []]
    for (let at = 0; at < 300_000; at += 50_000)
      for (const [i, input] of [a, b].entries())
        for await (const out of stages[i]!.push(input.subarray(at, at + 50_000))) outputs[i]!.push(Buffer.from(out))
    for (const [i, stage] of stages.entries()) {
      for await (const out of stage.finish()) outputs[i]!.push(Buffer.from(out))
      stage.close?.()
    }
    for (const [i, input] of [a, b].entries())
      expect((await through(decompressor(type), Buffer.concat(outputs[i]!))).equals(input)).toBe(true)
  })
})

test('zst with a given size accepts exactly that many bytes', async () => {
  const input = compressible(3 << 20, 'text', 9)
  const [a, b] = [0, 1].map(() => compressor('zst', 3, { contentBytes: input.length })) as [Stage, Stage]
  // Two at once use a buffer each.
  const outputs: Buffer[][] = [[], []]
  const [first, second] = [a.push(input), b.push(input)].map((chunks) =>
    (chunks as Iterable<Uint8Array>)[Symbol.iterator](),
  )
  for (;;) {
    const steps = [first!.next(), second!.next()]
    for (const [i, step] of steps.entries()) if (step.done !== true) outputs[i]!.push(Buffer.from(step.value))
    if (steps.every(({ done }) => done === true)) break
  }
  for (const output of outputs)
    expect((await through(decompressor('zst'), Buffer.concat(output))).equals(input)).toBe(true)
  expect([...(a.finish() as Iterable<Uint8Array>)]).toEqual([])
  expect(() => [...(b.push(input) as Iterable<Uint8Array>)]).toThrow('more bytes follow')
  a.close?.()
  b.close?.()
  const zstd = spawnSync('zstd', ['-dc'], { input: Buffer.concat(outputs[0]!), maxBuffer: 1 << 24 })
  if (zstd.error === undefined) expect(zstd.stdout.equals(input)).toBe(true)
})

// Node.js has zstd from 22.15 on; with an older one there is nothing to test.
describe.each([openNodeZst() ?? []].flat())('zst of Node', (ofNode) => {
  test('exchanges frames with zstd-napi at any level and chunk size', async () => {
    const ofPackage = openZst()
    const cases = fc.asyncProperty(inputs, levelsOf('zst'), chunkings, chunkings, async (input, level, a, b) => {
      for (const contentBytes of [undefined, input.length])
        for (const [writer, reader] of [
          [ofNode, ofPackage],
          [ofPackage, ofNode],
        ] as const) {
          const stored = await through(writer.compressor(Math.min(level, 19), { contentBytes }), input, a)
          expect((await through(reader.decompressor(false), stored, b)).equals(input)).toBe(true)
        }
    })
    await fc.assert(cases, { numRuns: 25 })
  })

  test('reads several frames in a row, and skips empty ones', async () => {
    const input = compressible(400_000, 'text', 8)
    const frame = await through(ofNode.compressor(3, {}), input)
    const skipped = Buffer.from('502a4d18030000000a0b0c', 'hex')
    const stored = Buffer.concat([skipped, frame, skipped, frame])
    expect((await through(ofNode.decompressor(false), stored, 999)).equals(Buffer.concat([input, input]))).toBe(true)
  })

  test('detects a truncated file, which the library of Node does not', async () => {
    const stored = await through(ofNode.compressor(3, {}), compressible(700, 'text', 3))
    for (let cut = 0; cut < stored.length; cut++)
      await expect(through(ofNode.decompressor(false), stored.subarray(0, cut), 97)).rejects.toThrow(
        'zst data is truncated',
      )
  })
})

test.each([-3, 1, 3, 9, 12])('zst of several threads is one frame, read by every program (level %i)', async (level) => {
  const input = Buffer.concat([0, 1, 2].map((seed) => compressible(2_500_000, 'text', seed)))
  for (const threads of [2, 5]) {
    const stored = await through(compressor('zst', level, { threads }), input, 1 << 20)
    const frames = [...new ZstFrames().split(stored)]
    expect(frames.map(({ begins, ends }) => [begins, ends])).toEqual([[true, true]])
    expect((await through(decompressor('zst'), stored)).equals(input)).toBe(true)
    const zstd = spawnSync('zstd', ['-dc'], { input: stored, maxBuffer: 1 << 24 })
    if (zstd.error === undefined) expect(zstd.stdout.equals(input)).toBe(true)
    // Beyond level 9 each thread would need much memory.
    const alone = await through(compressor('zst', level), input, 1 << 20)
    expect(stored.equals(alone)).toBe(level > 9)
  }
})

test.each([3, 4])('zst in parts is one frame, read by every program (level %i)', async (level) => {
  const MIB = 1 << 20
  const text = Buffer.concat([0, 1, 2].map((seed) => compressible(2_500_000, 'text', seed)))
  for (const length of [4 * MIB, 4 * MIB + 1, 5 * MIB, text.length])
    for (const [contentBytes, chunk] of [
      [length, 65_000],
      [length, MIB],
      // Other sizes than announced.
      [4 * MIB, 100_000],
      [1 << 30, 3 * MIB],
    ] as const) {
      const input = text.subarray(0, length)
      const stored = await through(compressor('zst', level, { contentBytes }), input, chunk)
      expect([...new ZstFrames().split(stored)].map(({ begins, ends }) => [begins, ends])).toEqual([[true, true]])
      expect((await through(decompressor('zst'), stored, 99_999)).equals(input)).toBe(true)
      const zstd = spawnSync('zstd', ['-dc'], { input: stored, maxBuffer: 1 << 24 })
      if (zstd.error === undefined) expect(zstd.stdout.equals(input)).toBe(true)
    }
})

test('a file in parts is stored as by several threads, and not larger than in a stream', async () => {
  const input = compressible(9_000_000, 'text', 4)
  const inParts = await through(compressor('zst', 3, { contentBytes: input.length }), input, 1 << 20)
  const ofThreads = await through(compressor('zst', 3, { threads: 3 }), input, 1 << 20)
  const inStream = await through(compressor('zst', 3), input, 1 << 20)
  expect(inParts.equals(ofThreads)).toBe(true)
  expect(inParts.equals(inStream)).toBe(false)
  expect(inParts.length).toBeLessThan(inStream.length * 1.01)
})

test('a file in parts that is left in the middle does not affect the next one', async () => {
  const input = compressible(5_000_000, 'text', 6)
  const expected = await through(compressor('zst', 3, { contentBytes: input.length }), input, 1 << 20)
  const left = compressor('zst', 3, { contentBytes: input.length })
  for (const _ of left.push(input.subarray(0, 2_000_000)) as Iterable<Uint8Array>);
  left.close?.()
  const stored = await through(compressor('zst', 3, { contentBytes: input.length }), input, 1 << 20)
  expect(stored.equals(expected)).toBe(true)
})

test('a chunk of the announced size after another one is compressed as any other', async () => {
  const input = compressible(150_000, 'text', 7)
  const stage = compressor('zst', 3, { contentBytes: 100_000 })
  const outputs: Buffer[] = []
  const collect = (chunks: Iterable<Uint8Array>) => {
    for (const chunk of chunks) outputs.push(Buffer.from(chunk))
  }
  collect(stage.push(input.subarray(0, 50_000)) as Iterable<Uint8Array>)
  collect(stage.push(input.subarray(50_000)) as Iterable<Uint8Array>)
  collect(stage.finish() as Iterable<Uint8Array>)
  stage.close?.()
  expect((await through(decompressor('zst'), Buffer.concat(outputs))).equals(input)).toBe(true)
})

test('zst of several threads compresses an empty file, and a file that ends within the first call', async () => {
  for (const input of [Buffer.alloc(0), compressible(10, 'text', 1)])
    expect(
      (await through(decompressor('zst'), await through(compressor('zst', 3, { threads: 2 }), input))).equals(input),
    ).toBe(true)
})

test('lz4 and zst read several frames in a row', async () => {
  for (const type of ['lz4', 'zst'] as const) {
    const parts = [compressible(100_000, 'text', 1), Buffer.alloc(0), compressible(70_000, 'random', 2)]
    const stored = await Promise.all(parts.map((part) => through(compressor(type), part)))
    expect((await through(decompressor(type), Buffer.concat(stored), 1000)).equals(Buffer.concat(parts))).toBe(true)
  }
})

test.each([10, 5000, 400_000])(
  'gz reads the first of several members and ignores the rest (%i bytes)',
  async (length) => {
    const [first, second] = [compressible(length, 'random', 1), compressible(1000, 'text', 2)]
    const stored = await Promise.all([first, second].map((part) => through(compressor('gz'), part)))
    for (const tail of [stored[1]!, Buffer.from('garbage'), Buffer.alloc(100)])
      for (const chunk of [999, 1 << 20])
        expect((await through(decompressor('gz'), Buffer.concat([stored[0]!, tail]), chunk)).equals(first)).toBe(true)
    expect(gunzipSync(stored[0]!).equals(first)).toBe(true)
  },
)

describe.each([
  ['gz', 'gzip', ['-1', '-9', '-n']],
  ['lz4', 'lz4', ['-1', '-9', '-B4D', '-B7', '-BI', '-BX', '--fast=3', '--content-size', '--no-frame-crc']],
  ['bz2', 'bzip2', ['-1', '-9']],
  ['zst', 'zstd', ['-1', '-19', '--check', '--no-check', '--fast=3', '--long']],
] as const)('%s and the %s command', (type, command, variants) => {
  const missing = spawnSync(command, ['--version']).error !== undefined
  const run = (args: string[], input: Buffer) => {
    const result = spawnSync(command, args, { input, maxBuffer: 1 << 30 })
    expect(result.stderr.toString()).toBe('')
    expect(result.status).toBe(0)
    return result.stdout
  }
  const samples = [0, 1, 3000, 2_000_000].map((length) => compressible(length, 'text', length))

  test.skipIf(missing)('the command-line tool reads what pgts writes', async () => {
    for (const input of samples)
      for (const level of [CODECS[type].level!.min, CODECS[type].level!.default, 9]) {
        const stored = await through(compressor(type, level), input)
        expect(run(['-q', '-d', '-c'], stored).equals(input)).toBe(true)
      }
  })

  test.skipIf(missing).each(variants)('pgts reads what the command-line tool writes with %s', async (variant) => {
    for (const input of samples) {
      const stored = run(['-q', '-c', variant], input)
      for (const chunk of [777, 1 << 20])
        expect((await through(decompressor(type), stored, input.length < 5000 ? chunk : 1 << 18)).equals(input)).toBe(
          true,
        )
    }
  })
})

test('codec none returns its input unchanged', async () => {
  const input = compressible(5000, 'random', 1)
  expect(await through([compressor('none'), decompressor('none')], input, 1000)).toEqual(input)
})

function allLevels(type: Written): number[] {
  const { min, max } = CODECS[type].level!
  // From level 20 on zstd needs hundreds of megabytes; level 22 is tested below on little data.
  return Array.from({ length: Math.min(max, 19) - min + 1 }, (_, i) => min + i)
}

test('decompressing returns the input of the highest zst level', async () => {
  const input = compressible(10_000, 'text', 1)
  expect((await through(decompressor('zst'), await through(compressor('zst', 22), input))).equals(input)).toBe(true)
})
