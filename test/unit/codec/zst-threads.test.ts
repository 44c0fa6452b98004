import { spawnSync } from 'node:child_process'
import { chmodSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { build } from 'esbuild'
import { expect, test } from 'vitest'
import { decompressor, loadCodec } from '../../../src/codec/registry.ts'
import { compressible, through } from '../../support/builders/codec.ts'
import { projectRoot } from '../../support/postgres/postgres.ts'

/** Compresses its standard input after it has lowered its limit of processes to what it has. */
const PROGRAM = `
  import { execFileSync } from 'node:child_process'
  import { readFileSync, writeFileSync } from 'node:fs'
  import { openZst } from './src/codec/zst.ts'
  const input = readFileSync(0)
  const codec = openZst()
  execFileSync('prlimit', ['--pid', String(process.pid), '--nproc=1'])
  for (const options of [{ contentBytes: input.length }, { threads: 3 }, {}]) {
    const outputs = []
    const stage = codec.compressor(3, options)
    for (let at = 0; at < input.length; at += 65536)
      for (const output of stage.push(input.subarray(at, at + 65536))) outputs.push(Buffer.from(output))
    for (const output of stage.finish()) outputs.push(Buffer.from(output))
    stage.close()
    const all = Buffer.concat(outputs)
    writeFileSync(1, String(all.length).padEnd(20))
    writeFileSync(1, all)
  }`

test('zst compresses large files as a stream if a limit of processes prevents its threads', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'pgts-threads-'))
  try {
    chmodSync(directory, 0o755)
    const outfile = join(directory, 'program.mjs')
    await build({
      stdin: { contents: PROGRAM, resolveDir: projectRoot, loader: 'ts' },
      ...{ outfile, bundle: true, format: 'esm', platform: 'node', packages: 'external' },
    })
    const input = compressible(6_000_000, 'text', 5)
    const { stdout, stderr, status } = spawnSync(process.execPath, [outfile], {
      input,
      maxBuffer: 1 << 25,
      env: { ...process.env, NODE_PATH: join(projectRoot, 'node_modules') },
      // The limit does not apply to root.
      ...(process.getuid?.() === 0 ? { uid: 59_998, gid: 59_998 } : {}),
    })
    expect(status, String(stderr)).toBe(0)
    await loadCodec('zst')
    const stored: Buffer[] = []
    for (let at = 0; at < stdout.length;) {
      const length = Number(stdout.toString('latin1', at, at + 20))
      stored.push(stdout.subarray(at + 20, at + 20 + length))
      at += 20 + length
    }
    const [inParts, ofThreads, inStream] = stored
    expect(stored).toHaveLength(3)
    expect((await through(decompressor('zst'), inStream!)).equals(input)).toBe(true)
    expect(inParts!.equals(inStream!)).toBe(true)
    expect(ofThreads!.equals(inStream!)).toBe(true)
  } finally {
    rmSync(directory, { recursive: true })
  }
})
