import { cpSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { run } from './shell.ts'

/**
 * Pack a payload without a runtime as an npm package. zstd-napi is inside, with its binary and without its install script, so
 * that an installation needs no compiler and no other host than the registry, from which koffi comes.
 *
 * @returns path of the package in `out`
 */
export function packNpm(root: string, payload: string, out: string): string {
  const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as Record<string, unknown>
  for (const member of ['scripts', 'devDependencies', 'private']) delete manifest[member]
  const zstd = (manifest['optionalDependencies'] as Record<string, string>)['zstd-napi']
  const pages = readdirSync(join(payload, 'share/man/man1')).map((page) => `share/man/man1/${page}`)
  writeFileSync(
    join(payload, 'package.json'),
    `${JSON.stringify(
      {
        ...manifest,
        files: ['bin', 'dist', 'docs', 'share', 'THIRD-PARTY-NOTICES', 'sbom.cdx.json', 'CHANGELOG.md'],
        man: pages,
        optionalDependencies: { 'zstd-napi': zstd },
        bundleDependencies: ['zstd-napi'],
      },
      null,
      2,
    )}\n`,
  )
  cpSync(join(root, 'docs'), join(payload, 'docs'), { recursive: true })
  const name = run('npm', ['pack', '--silent', '--ignore-scripts'], { cwd: payload }).trim()
  const path = join(out, name)
  // A copy: the directory of packages can be on another file system.
  cpSync(join(payload, name), path)
  return path
}
