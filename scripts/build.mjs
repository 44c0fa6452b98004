// Bundles the entry points (terminal, archiving, worker thread) into dist/. Dynamic imports become chunks, so a command
// loads only what it uses. The new dist takes the place of the old one in one step, so a running program is not torn.
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
  // Native modules find their binaries beside themselves; all else is bundled, which halves the time to load it.
  external: ['zstd-napi', 'zstd-napi/*', 'koffi', 'pg-native'],
  define: { PGTS_VERSION: JSON.stringify(version) },
  sourcemap: 'linked',
  logLevel: 'warning',
}

// What a synchronous call of archive-push or archive-get with repositories on disks or in S3 never reaches. Left out, because
// Node reads the whole file before it starts.
const neverReached =
  /\/src\/(worker\/thread|storage\/(memory|azure|gcs|s3\/(point-in-time|keys\/web-identity))|core\/archive\/async|commands\/archive-(push|get)-(spool|async)|cli\/background)|\/node_modules\/(pg|commander|pino|@|google)/
const slim = {
  name: 'slim',
  setup({ onLoad, onResolve }) {
    // Half as large as all the rest, and not everybody's configuration is YAML.
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
    // Of a package that is there in both kinds, the one of which only what is used is taken: half of AWS's library.
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
    // Its ES modules: of those, only what is used becomes part of the bundle.
    mainFields: ['module', 'main'],
    minifyWhitespace: true,
    minifySyntax: true,
  }),
  build({
    ...common,
    // Each is loaded by a few commands, or by few runs of them.
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
    // CommonJS is loaded without a pause; names are kept, so that a stack trace can be read.
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
// A power cut after an installation would otherwise leave empty files: sh and Node end with 0 for those.
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
