// Bundles the program and the worker thread into dist/: one file with all modules and V8's code cache. The new dist
// replaces the old one by a rename, so that a running program never reads a mixture.
import { build, transform } from 'esbuild'
import { createHash } from 'node:crypto'
import { cp, mkdir, open, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { dirname } from 'node:path'
import { fileURLToPath } from 'node:url'
import { exercise } from './build/exercise.mjs'
import { learnedCache, loader, writePacked } from './build/packed.mjs'
import { starterOf } from './build/starter.mjs'
import { withoutCloudflare } from './build/without-cloudflare.mjs'

const root = fileURLToPath(new URL('..', import.meta.url))
const { version, engines } = JSON.parse(await readFile(`${root}package.json`, 'utf8'))
const starter = starterOf(/^>=([0-9]+\.[0-9]+)$/.exec(engines.node)[1])
// A package has its own, compiled by the Node that it carries.
const out = process.env.PGTS_DIST ?? `${root}dist`
const fresh = `${out}.${process.pid}`
const cli = `${fresh}/cli`

const { outputFiles } = await build({
  absWorkingDir: root,
  bundle: true,
  platform: 'node',
  target: 'node20',
  // What an import() loads becomes a module of its own, so that a command reads only what it uses.
  splitting: true,
  format: 'esm',
  entryPoints: { main: 'src/cli/main.ts', worker: 'src/worker/entry.ts', pino: 'src/cli/pino.ts' },
  outdir: fresh,
  write: false,
  // Native modules look for their binaries in their own directory; all other packages are bundled, which halves the time to load them.
  external: ['zstd-napi', 'zstd-napi/*', 'koffi', 'pg-native'],
  // Prefer the ES modules of a package, of which esbuild bundles only the used parts: half of AWS's library.
  mainFields: ['module', 'main'],
  plugins: [withoutCloudflare],
  define: {
    PGTS_VERSION: JSON.stringify(version),
    PGTS_BUILD: JSON.stringify(await hashOfSources()),
    'import.meta.url': 'pgtsUrl',
  },
  // Names are kept for stack traces.
  minifyWhitespace: true,
  minifySyntax: true,
  sourcemap: 'inline',
  logLevel: 'warning',
})
await mkdir(cli, { recursive: true })
await mkdir(`${fresh}/maps`)
await cp(`${root}src/codec/kernels.wasm`, `${cli}/kernels.wasm`)
const modules = new Map()
for (const { path, text } of outputFiles) {
  const name = path.replace(/.*\//, '')
  const { code, map } = await commonJs(text, name)
  modules.set(name, code)
  await writeFile(`${fresh}/maps/${name}.map`, map)
}

// The caches are made of what the commands really call: of all functions they would be larger, and take longer to read than to compile.
const learnIn = `${fresh}/caches`
await mkdir(learnIn)
writePacked(`${cli}/program.packed`, modules, () => Buffer.alloc(0))
await writeEntries(learnIn)
await exercise(`${cli}/main.cjs`)
writePacked(`${cli}/program.packed`, modules, learnedCache(learnIn))
await writeEntries()
await rm(learnIn, { recursive: true })

// After a power failure unsynced files could be empty, and sh and Node end with 0 for an empty file.
await syncTree(fresh)
for (const path of ['bin/pgts', 'bin']) await sync(root + path)
const old = `${out}.old.${process.pid}`
await rename(out, old).catch((error) => {
  if (error.code !== 'ENOENT') throw error
})
await rename(fresh, out)
await sync(dirname(out))
await rm(old, { recursive: true, force: true })

/** The dependencies count through their versions in package-lock.json. */
async function hashOfSources() {
  const hash = createHash('sha256')
  const entries = await readdir(`${root}src`, { recursive: true, withFileTypes: true })
  const paths = entries.filter((entry) => entry.isFile()).map((entry) => `${entry.parentPath}/${entry.name}`)
  for (const path of [...paths.sort(), `${root}package-lock.json`])
    hash.update(`${path.slice(root.length)}\0`).update(await readFile(path))
  return hash.digest('hex').slice(0, 16)
}

async function syncTree(directory) {
  for (const entry of await readdir(directory, { withFileTypes: true })) {
    const path = `${directory}/${entry.name}`
    await (entry.isDirectory() ? syncTree(path) : sync(path))
  }
  await sync(directory)
}

async function sync(path) {
  const file = await open(path)
  try {
    await file.sync()
  } finally {
    await file.close()
  }
}

/** Loaded synchronously. Code from a cache cannot import() (ERR_VM_DYNAMIC_IMPORT_CALLBACK_MISSING). */
async function commonJs(text, name) {
  const { code, map } = await transform(text, {
    sourcefile: name,
    platform: 'node',
    target: 'node20',
    format: 'cjs',
    supported: { 'dynamic-import': false },
    minifyWhitespace: true,
    minifySyntax: true,
    sourcemap: 'external',
    logLevel: 'warning',
  })
  // The code follows a line of writePacked.
  return { code, map: map.replace('"mappings": "', '"mappings": ";') }
}

/** @param learnIn see `loader` */
async function writeEntries(learnIn) {
  await writeFile(`${cli}/main.cjs`, starter(loader('main.js', learnIn)))
  await writeFile(`${cli}/worker.cjs`, loader('worker.js', learnIn))
}
