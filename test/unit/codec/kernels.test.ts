import { execFileSync, spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { blockChecksums, xxh3 } from '../../../src/codec/xxh3.ts'
import { compressible } from '../../support/builders/codec.ts'

test.each([
  [Buffer.alloc(8192), '6c8a36bd5451c725620797930ab0991a'],
  [Buffer.from(Uint8Array.from({ length: 8192 }, (_, i) => i * 7 + 3)), 'f36491bbad0eb9174bdd498cfc5719ba'],
  [Buffer.alloc(0), '99aa06d3014798d86001c324468d497f'],
])('XXH3 of a known block', (block, digest) => {
  expect(xxh3(block).toString('hex')).toBe(digest)
})

test.skipIf(spawnSync('xxhsum', ['--version']).error !== undefined)(
  'XXH3 agrees with xxhsum at every length class',
  () => {
    for (const length of [1, 3, 4, 8, 9, 16, 17, 128, 129, 240, 241, 1024, 1025, 100_000]) {
      const block = compressible(length, 'random', length)
      const output = execFileSync('xxhsum', ['-H2', '-'], { input: block, encoding: 'latin1' })
      expect(output.slice(0, 32)).toBe(xxh3(block).toString('hex'))
    }
  },
)

// The last needs a larger buffer than the usual one.
test.each([8192, 90_112, 1 << 20, 3_000_000])('checksums of blocks of %i bytes', (blockSize) => {
  const bytes = compressible(2 * blockSize + 777, 'random', blockSize)
  const into = new Uint8Array(2 + 3 * 7)
  blockChecksums(bytes, blockSize, 7, into, 2)
  const expected = [0, 1, 2].map((i) => xxh3(bytes.subarray(i * blockSize, (i + 1) * blockSize)).subarray(0, 7))
  expect(Buffer.from(into).toString('hex')).toBe('0000' + Buffer.concat(expected).toString('hex'))
})

// Other compilers produce other bytes with the same behaviour, so only the one in native/README.md is compared.
const compiler = spawnSync('clang', ['--version'], { encoding: 'latin1' })
const usual = compiler.error === undefined && compiler.stdout.includes('version 14.0.6')

test.skipIf(!usual)(
  'the committed module equals the compiled sources of native/',
  () => {
    const folder = mkdtempSync(join(tmpdir(), 'pgts-kernels-'))
    try {
      const built = join(folder, 'kernels.wasm')
      const root = new URL('../../../', import.meta.url)
      execFileSync('scripts/build-kernels.sh', [built], { cwd: root })
      expect(readFileSync(built).equals(readFileSync(new URL('src/codec/kernels.wasm', root)))).toBe(true)
    } finally {
      rmSync(folder, { recursive: true, force: true })
    }
  },
  120_000,
)
