// Bundles the two entry points (terminal and worker thread) into dist/. Dynamic imports become chunks, so a command
// loads only what it uses. The new dist takes the place of the old one in one step, so a running program is not torn.
import { build } from 'esbuild'
import { cp, readFile, rename, rm } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('..', import.meta.url))
const { version } = JSON.parse(await readFile(`${root}package.json`, 'utf8'))
const out = `${root}dist`
const fresh = `${out}.${process.pid}`
await build({
  entryPoints: { 'cli/main': 'src/cli/main.ts', 'worker/entry': 'src/worker/entry.ts' },
  absWorkingDir: root,
  outdir: fresh,
  bundle: true,
  splitting: true,
  format: 'esm',
  platform: 'node',
  target: 'node20',
  // Native modules find their binaries beside themselves; all else is bundled, which halves the time to load it.
  external: ['zstd-napi', 'zstd-napi/*', 'koffi', 'pg-native'],
  banner: {
    js: "import { createRequire as pgtsRequire } from 'node:module'; const require = pgtsRequire(import.meta.url);",
  },
  sourcemap: 'linked',
  chunkNames: 'chunks/[name]-[hash]',
  define: { PGTS_VERSION: JSON.stringify(version) },
  logLevel: 'warning',
})
await cp(`${root}src/codec/kernels.wasm`, `${fresh}/chunks/kernels.wasm`)
const old = `${out}.old.${process.pid}`
await rename(out, old).catch((error) => {
  if (error.code !== 'ENOENT') throw error
})
await rename(fresh, out)
await rm(old, { recursive: true, force: true })
