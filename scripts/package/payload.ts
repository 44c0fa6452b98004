import { cpSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { billOfMaterials, bundledComponents, notices, runtimeComponent, zstdComponent } from './components.ts'
import { writeShare } from './man.ts'
import { run } from './shell.ts'

export interface PayloadOptions {
  /** The repository. */
  readonly root: string
  /** Created; must not exist. */
  readonly directory: string
  readonly version: string
  /** Directory of a runtime, which then compiles the code cache and is carried as `bin/node`; absent: the running Node compiles. */
  readonly runtime?: { readonly directory: string; readonly version: string }
}

/** Files of a package that are read at run time; zstd-napi is delivered without its sources and without an install script. */
const ZSTD_FILES = ['binding.js', 'build/Release/binding.node', 'LICENSE', 'NOTICE']
// Documentation, sources in C++, and the binary for another C library.
const NOT_NEEDED_OF_KOFFI =
  /^\/(doc|lib|vendor|musl_x64|src\/koffi\/src\/abi|cnoke\.cjs)$|\.(md|cc|hh|inc|d\.ts)$|CMakeLists/
const KOFFI_BINARY = '@koromix/koffi-linux-x64'

/** Make a directory that runs as it is: bin/, dist/ and, if it carries a runtime, node and all modules. */
export function makePayload({ root, directory, version, runtime }: PayloadOptions): void {
  mkdirSync(directory, { recursive: true })
  const dist = join(directory, 'dist')
  const node = runtime === undefined ? process.execPath : join(runtime.directory, 'bin/node')
  run(node, [join(root, 'scripts/build.mjs')], { cwd: root, env: { ...process.env, PGTS_DIST: dist } })

  const own = bundledComponents(dist, root, ['zstd-napi', 'koffi', ...(runtime === undefined ? [] : [KOFFI_BINARY])])
  const components = [
    ...own,
    zstdComponent(root),
    ...(runtime === undefined ? [] : [runtimeComponent(runtime.directory, runtime.version)]),
  ]
  rmSync(join(dist, 'maps'), { recursive: true })

  mkdirSync(join(directory, 'bin'))
  cpSync(join(root, 'bin/pgts'), join(directory, 'bin/pgts'))
  for (const name of ['README.md', 'CHANGELOG.md', 'LICENSE']) cpSync(join(root, name), join(directory, name))
  writeShare(join(directory, 'share'), version)
  copyZstd(root, directory)
  if (runtime !== undefined) {
    cpSync(join(runtime.directory, 'bin/node'), join(directory, 'bin/node'))
    run('strip', ['--strip-unneeded', join(directory, 'bin/node')])
    copyKoffi(root, directory)
  }
  writeFileSync(join(directory, 'THIRD-PARTY-NOTICES'), notices(components))
  writeFileSync(join(directory, 'sbom.cdx.json'), billOfMaterials(version, components))
}

function copyZstd(root: string, directory: string): void {
  const from = join(root, 'node_modules/zstd-napi')
  const to = join(directory, 'node_modules/zstd-napi')
  mkdirSync(to, { recursive: true })
  for (const name of ZSTD_FILES) cpSync(join(from, name), join(to, name), { recursive: true })
  run('strip', ['--strip-unneeded', join(to, 'build/Release/binding.node')])
  writeManifest(from, to)
}

function copyKoffi(root: string, directory: string): void {
  for (const name of ['koffi', KOFFI_BINARY]) {
    const from = join(root, 'node_modules', name)
    const to = join(directory, 'node_modules', name)
    cpSync(from, to, { recursive: true, filter: (path) => !NOT_NEEDED_OF_KOFFI.test(path.slice(from.length)) })
    writeManifest(from, to)
  }
}

/** package.json without scripts and dependencies: nothing runs at installation, and nothing else is fetched. */
function writeManifest(from: string, to: string): void {
  const manifest = JSON.parse(readFileSync(join(from, 'package.json'), 'utf8')) as Record<string, unknown>
  for (const member of ['scripts', 'dependencies', 'devDependencies', 'optionalDependencies', 'files', 'cnoke'])
    delete manifest[member]
  writeFileSync(join(to, 'package.json'), `${JSON.stringify(manifest, null, 2)}\n`)
}
