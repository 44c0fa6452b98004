import { bytesToText } from '../util/byte-string.ts'
import { PgtsError } from '../util/error.ts'
import { SHA1_OF_NOTHING, type Manifest, type ManifestDefaults, type ManifestPath } from './manifest.ts'

/** The parts of a mode that files take over from the data directory. */
const FILE_MODE_MASK = 0o640

/** The defaults that pgBackRest derives from the data directory's own entry. */
export function manifestDefaults(pgData: Omit<ManifestPath, 'name'>, hasLinks: boolean): ManifestDefaults {
  const owner = { user: pgData.user, group: pgData.group }
  return {
    file: { ...owner, mode: pgData.mode & FILE_MODE_MASK },
    path: { ...owner, mode: pgData.mode },
    ...(hasLinks ? { link: owner } : {}),
  }
}

/**
 * Is a name of a manifest safe and meaningful: `pg_data`, or below `pg_data` or `pg_tblspc`, with no component that is
 * empty, `.` or `..`? Anything else could make a restore write outside its target.
 */
export function isSafeManifestName(name: string): boolean {
  if (!name.startsWith('pg_data') && !name.startsWith('pg_tblspc')) return false
  const after = name[name.startsWith('pg_data') ? 7 : 9]
  if (after !== undefined && after !== '/') return false
  return !name.endsWith('/') && !UNSAFE.test(name)
}

const UNSAFE = /\/\/|\/\.\.?(?:\/|$)|\0/

/**
 * Is the manifest that of the complete backup `label`? Every file with content has a checksum, is stored somewhere we
 * can name, and refers only to backups of its own chain.
 *
 * @throws PgtsError format, with the first few problems
 */
export function checkManifest(manifest: Manifest, label: string): void {
  const problems: string[] = []
  if (manifest.label !== label) problems.push(`it is the manifest of backup ${manifest.label}`)
  const chain = new Set(manifest.references)
  if (manifest.references.at(-1) !== manifest.label) problems.push('its own label is not the last of its references')
  if (manifest.type !== 'full' && manifest.prior === undefined)
    problems.push(`a ${manifest.type} backup without a prior`)
  if (!manifest.targets.some(({ name }) => name === 'pg_data')) problems.push('there is no target pg_data')
  if (!manifest.paths.some(({ name }) => name === 'pg_data')) problems.push('there is no path pg_data')
  for (const file of manifest.files) {
    if (problems.length > MAX_PROBLEMS) break
    if (file.reference !== undefined && !chain.has(file.reference)) {
      problems.push(`${file.name} refers to backup ${file.reference}, which is not in the chain`)
    }
    if (file.sizeBytes === 0) {
      if ((file.checksum ?? SHA1_OF_NOTHING) !== SHA1_OF_NOTHING) {
        problems.push(`${bytesToText(file.name)} is empty, but has the checksum of content`)
      }
      continue
    }
    if (file.checksum === undefined) problems.push(`${file.name} has no checksum`)
    if (file.repoSizeBytes === 0) problems.push(`${file.name} has a stored size of 0`)
  }
  if (problems.length === 0) return
  const shown = problems.slice(0, MAX_PROBLEMS).join('; ') + (problems.length > MAX_PROBLEMS ? '; and more' : '')
  throw new PgtsError('format', `the manifest of backup ${label} is not usable: ${shown}`)
}

const MAX_PROBLEMS = 5
