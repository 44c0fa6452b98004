/**
 * Builds the packages of pgts into a directory: `npm run package -- [--only=npm,tarball,deb] [--out=packages]`.
 * docs/guide/install.md describes them, docs/decisions/0034-packages.md why they are made this way.
 */
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { basename, join, resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { buildDebs } from './package/deb.ts'
import { packNpm } from './package/npm.ts'
import { makePayload } from './package/payload.ts'
import { fetchRuntime, RUNTIME } from './package/runtime.ts'
import { sha256Of } from './package/shell.ts'
import { packTarball } from './package/tarball.ts'

const root = resolve(import.meta.dirname, '../..')
const FORMS = ['npm', 'tarball', 'deb']

function main(): void {
  const { values } = parseArgs({
    options: { only: { type: 'string' }, out: { type: 'string', default: 'packages' } },
  })
  const forms = values.only?.split(',') ?? FORMS
  for (const form of forms)
    if (!FORMS.includes(form)) throw new Error(`invalid form '${form}': one of ${FORMS.join(', ')}`)
  const version = readVersion()
  const out = resolve(values.out)
  mkdirSync(out, { recursive: true })
  const work = mkdtempSync(join(root, 'node_modules/.pgts/package-'))
  try {
    const built = [...buildNpm(forms, work, version, out), ...buildWithRuntime(forms, work, version, out)]
    for (const { path, payload } of built) {
      writeFileSync(`${path}.sha256`, `${sha256Of(path)}  ${basename(path)}\n`)
      cpSync(join(payload, 'sbom.cdx.json'), `${path}.cdx.json`)
      console.log(path)
    }
  } finally {
    rmSync(work, { recursive: true, force: true })
  }
}

/** The one version number, of package.json. */
function readVersion(): string {
  const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { version: string }
  const changes = readFileSync(join(root, 'CHANGELOG.md'), 'utf8')
  if (!new RegExp(`^## ${version.replaceAll('.', '\\.')}( |$)`, 'm').test(changes))
    throw new Error(`CHANGELOG.md has no entry '## ${version}': write what changed in this version`)
  return version
}

/** A package, and the directory with its contents. */
interface Built {
  readonly path: string
  readonly payload: string
}

function buildNpm(forms: readonly string[], work: string, version: string, out: string): Built[] {
  if (!forms.includes('npm')) return []
  const payload = join(work, 'npm')
  makePayload({ root, directory: payload, version })
  return [{ path: packNpm(root, payload, out), payload }]
}

function buildWithRuntime(forms: readonly string[], work: string, version: string, out: string): Built[] {
  if (!forms.includes('tarball') && !forms.includes('deb')) return []
  const runtime = { directory: fetchRuntime(RUNTIME, join(root, 'node_modules/.pgts')), version: RUNTIME.version }
  const payload = join(work, `pgts-${version}`)
  makePayload({ root, directory: payload, version, runtime })
  return [
    ...(forms.includes('tarball') ? [packTarball(payload, out)] : []),
    ...(forms.includes('deb') ? buildDebs({ root, payload, work, version, out }) : []),
  ].map((path) => ({ path, payload }))
}

main()
