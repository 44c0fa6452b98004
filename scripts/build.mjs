// Bundles the entry points (terminal, archiving, worker thread) into dist/. Dynamic imports become chunks, so a command
// loads only what it uses. The new dist replaces the old one by a rename, so that a running program never reads a mixture.
import { build } from 'esbuild'
import { cp, open, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { awsEntry, awsLibrary } from './build/aws-library.mjs'
import { packWithCache } from './build/code-cache.mjs'
import { starterOf } from './build/starter.mjs'

const root = fileURLToPath(new URL('..', import.meta.url))
const { version, engines } = JSON.parse(await readFile(`${root}package.json`, 'utf8'))
const starter = starterOf(/^>=([0-9]+\.[0-9]+)$/.exec(engines.node)[1])
const out = `${root}dist`
const fresh = `${out}.${process.pid}`

const common = {
  absWorkingDir: root,
  bundle: true,
  platform: 'node',
  target: 'node20',
  // Native modules look for their binaries in their own directory; all other packages are bundled, which halves the time to load them.
  external: ['zstd-napi', 'zstd-napi/*', 'koffi', 'pg-native'],
  define: { PGTS_VERSION: JSON.stringify(version) },
  sourcemap: 'linked',
  logLevel: 'warning',
}

// Modules that a synchronous call of archive-push or archive-get with repositories on disks or in S3 never uses. Left out, because
// Node reads the whole file before it starts.
const neverReached =
  /\/src\/(worker\/thread|storage\/(memory|azure|gcs|s3\/(point-in-time|keys\/web-identity))|core\/archive\/(get\/(read-ahead|through-spool|segment-index|get-requests)|push\/(background|push-(queue|slots|job)|await-push))|commands\/archive-(push|get)-(spool|async)|cli\/background)|\/node_modules\/(pg|commander|pino|@|google)/
const slim = {
  name: 'slim',
  setup({ onLoad, onResolve }) {
    // Half as large as the rest of the bundle, and not every configuration is YAML.
    onResolve({ filter: /^yaml$/ }, () => ({ path: './yaml.cjs', external: true }))
    onLoad({ filter: neverReached }, ({ path }) => ({
      contents: `throw new Error(${JSON.stringify(`${path.slice(root.length)} is not part of archive.cjs`)})`,
    }))
  },
}

await Promise.all([
  build({
    ...common,
    entryPoints: { 'cli/terminal': 'src/cli/main.ts', 'worker/entry': 'src/worker/entry.ts' },
    outdir: fresh,
    splitting: true,
    format: 'esm',
    // Prefer the ES modules of a package, of which esbuild bundles only the used parts: half of AWS's library.
    mainFields: ['module', 'main'],
    banner: {
      js: "import { createRequire as pgtsRequire } from 'node:module'; const require = pgtsRequire(import.meta.url);",
    },
    chunkNames: 'chunks/[name]-[hash]',
    plugins: [awsLibrary],
  }),
  build({
    ...common,
    stdin: { contents: awsEntry, resolveDir: root, sourcefile: 'aws.js' },
    outfile: `${fresh}/cli/aws.cjs`,
    format: 'cjs',
    // Its ES modules, of which esbuild bundles only the used parts.
    mainFields: ['module', 'main'],
    minifyWhitespace: true,
    minifySyntax: true,
  }),
  build({
    ...common,
    // Loaded by few commands, or by few runs of them.
    entryPoints: { 'cli/pino': 'pino', 'cli/yaml': 'yaml' },
    outdir: fresh,
    outExtension: { '.js': '.cjs' },
    format: 'cjs',
    minifyWhitespace: true,
    minifySyntax: true,
  }),
  build({
    ...common,
    entryPoints: { 'cli/archive': 'src/cli/archive.ts' },
    outdir: fresh,
    outExtension: { '.js': '.cjs' },
    // CommonJS is loaded synchronously. Names are kept for stack traces.
    format: 'cjs',
    minifyWhitespace: true,
    minifySyntax: true,
    define: { ...common.define, 'import.meta.url': 'pgtsUrl' },
    banner: { js: "const pgtsUrl = require('node:url').pathToFileURL(__filename).href;" },
    plugins: [awsLibrary, slim],
  }),
])
await cp(`${root}src/codec/kernels.wasm`, `${fresh}/chunks/kernels.wasm`)
await writeFile(`${fresh}/cli/main.js`, starter.module('./terminal.js'))
await packWithCache(`${fresh}/cli/archive.cjs`, starter.commonJs)
for (const name of ['aws', 'pino', 'yaml']) await packWithCache(`${fresh}/cli/${name}.cjs`)
// After a power failure unsynced files could be empty, and sh and Node end with 0 for an empty file.
await syncTree(fresh)
for (const path of ['bin/pgts', 'bin']) await sync(root + path)
const old = `${out}.old.${process.pid}`
await rename(out, old).catch((error) => {
  if (error.code !== 'ENOENT') throw error
})
await rename(fresh, out)
await sync(root)
await rm(old, { recursive: true, force: true })

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
