// Bundles the two entry points (terminal and worker thread) into dist/. Packages stay outside the bundle; dynamic
// imports become chunks, so a command loads only what it uses.
import { build } from 'esbuild'
import { cp, readFile, rm } from 'node:fs/promises'

const { version } = JSON.parse(await readFile(new URL('../package.json', import.meta.url), 'utf8'))
const out = new URL('../dist/', import.meta.url).pathname
await rm(out, { recursive: true, force: true })
await build({
  entryPoints: { 'cli/main': 'src/cli/main.ts', 'worker/entry': 'src/worker/entry.ts' },
  absWorkingDir: new URL('..', import.meta.url).pathname,
  outdir: out,
  bundle: true,
  splitting: true,
  format: 'esm',
  platform: 'node',
  target: 'node20',
  packages: 'external',
  sourcemap: 'linked',
  chunkNames: 'chunks/[name]-[hash]',
  define: { PGTS_VERSION: JSON.stringify(version) },
  logLevel: 'warning',
})
await cp(new URL('../src/codec/kernels.wasm', import.meta.url), new URL('../dist/chunks/kernels.wasm', import.meta.url)).catch(
  () => undefined,
)
