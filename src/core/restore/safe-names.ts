import type { Manifest } from '../../format/manifest.ts'
import { PgtsError } from '../../util/error.ts'

/**
 * Refuse a manifest that names anything outside the places it restores to. A manifest is input like any other: a name
 * with '..' in it would let a damaged or forged repository write anywhere on this host. Throws `format`.
 */
export function assertSafeNames(manifest: Manifest): void {
  const paths = new Set(manifest.paths.map((path) => path.name))
  const targets = new Set(manifest.targets.map((target) => target.name))
  if (!paths.has('pg_data')) throw broken(manifest, 'it has no entry for the data directory')

  for (const path of manifest.paths) {
    assertSafeName(manifest, path.name)
    if (path.name !== 'pg_data' && path.name !== 'pg_tblspc') assertParent(manifest, paths, path.name)
  }
  for (const file of manifest.files) {
    assertSafeName(manifest, file.name)
    assertParent(manifest, paths, file.name)
  }
  for (const link of manifest.links) {
    assertSafeName(manifest, link.name)
    assertParent(manifest, paths, link.name)
    const target = link.name.startsWith('pg_data/pg_tblspc/') ? link.name.slice('pg_data/'.length) : link.name
    if (!targets.has(target)) throw broken(manifest, `link ${link.name} has no target`)
    assertDestination(manifest, link.name, link.destination)
  }
  for (const target of manifest.targets) {
    assertSafeName(manifest, target.name)
    assertDestination(manifest, target.name, target.path)
    if (target.file !== undefined && !isComponent(target.file)) {
      throw broken(manifest, `target ${target.name} has the file name '${target.file}'`)
    }
    if (target.tablespaceId === undefined) continue
    if (target.name !== `pg_tblspc/${target.tablespaceId}` || !/^[1-9][0-9]*$/.test(target.tablespaceId)) {
      throw broken(manifest, `target ${target.name} has the tablespace id '${target.tablespaceId}'`)
    }
    if (!target.path.startsWith('/')) throw broken(manifest, `tablespace ${target.name} has a relative location`)
  }
}

function assertSafeName(manifest: Manifest, name: string): void {
  const [root, ...rest] = name.split('/')
  if ((root !== 'pg_data' && root !== 'pg_tblspc') || !rest.every(isComponent)) {
    throw broken(manifest, `the name '${name}' does not lie in the data directory or a tablespace`)
  }
}

function isComponent(part: string): boolean {
  return part !== '' && part !== '.' && part !== '..' && !part.includes('/') && !part.includes('\0')
}

function assertParent(manifest: Manifest, paths: ReadonlySet<string>, name: string): void {
  const parent = name.slice(0, Math.max(0, name.lastIndexOf('/')))
  if (!paths.has(parent)) throw broken(manifest, `'${name}' lies in no directory of the backup`)
}

function assertDestination(manifest: Manifest, name: string, destination: string): void {
  if (destination === '' || destination.includes('\0')) throw broken(manifest, `${name} points nowhere`)
}

function broken(manifest: Manifest, what: string): PgtsError {
  return new PgtsError('format', `manifest of backup ${manifest.label} cannot be restored: ${what}`, {
    hints: ['the manifest is damaged or was altered: restore another backup set, or from another repository'],
  })
}
