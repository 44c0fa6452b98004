// Runs a TypeScript script of this repository: `node scripts/run.mjs scripts/demo.ts [arguments]`.
import { build } from 'esbuild'
import { cp, rm } from 'node:fs/promises'
import { basename } from 'node:path'
import { pathToFileURL } from 'node:url'

const [script, ...rest] = process.argv.slice(2)
const root = new URL('..', import.meta.url).pathname
// Inside the project, where packages are found; named by process, because several runs may share the folder.
const outfile = `${root}node_modules/.pgts/${basename(script, '.ts')}-${process.pid}.mjs`
await build({
  entryPoints: [script],
  absWorkingDir: root,
  outfile,
  bundle: true,
  format: 'esm',
  platform: 'node',
  target: 'node20',
  packages: 'external',
  sourcemap: 'inline',
  logLevel: 'warning',
})
// Codecs load it from their own directory.
await cp(`${root}src/codec/kernels.wasm`, `${root}node_modules/.pgts/kernels.wasm`)
process.argv = [process.argv[0], script, ...rest]
try {
  await import(pathToFileURL(outfile).href)
} finally {
  await rm(outfile, { force: true })
}
