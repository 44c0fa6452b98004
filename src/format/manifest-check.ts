import { bytesToText } from '../util/byte-string.ts'
import { PgtsError } from '../util/error.ts'
import { chainProblems, parseBackupLabel } from './backup-label.ts'
import { nameProblems } from './manifest-names.ts'
import {
  SHA1_OF_NOTHING,
  type Manifest,
  type ManifestDefaults,
  type ManifestFile,
  type ManifestPath,
} from './manifest.ts'

/** Permission bits that files inherit from the data directory. */
const FILE_MODE_MASK = 0o640

/** The defaults that pgBackRest derives from the entry of the data directory. */
export function manifestDefaults(pgData: Omit<ManifestPath, 'name'>, hasLinks: boolean): ManifestDefaults {
  const owner = { user: pgData.user, group: pgData.group }
  return {
    file: { ...owner, mode: pgData.mode & FILE_MODE_MASK },
    path: { ...owner, mode: pgData.mode },
    link: hasLinks ? owner : undefined,
  }
}

/**
 * Checks that the manifest is that of the complete backup `label`. Its names form one tree (`nameProblems`); every file
 * with content has a checksum and a valid location, and refers only to backups of its own chain.
 *
 * @throws PgtsError format with the first few problems
 */
export function checkManifest(manifest: Manifest, label: string): void {
  const problems: string[] = []
  for (const problem of manifestProblems(manifest, label)) {
    problems.push(problem)
    if (problems.length > MAX_PROBLEMS) break
  }
  if (problems.length === 0) return
  const shown = problems.slice(0, MAX_PROBLEMS).join('; ') + (problems.length > MAX_PROBLEMS ? '; and more' : '')
  throw new PgtsError('format', `the manifest of backup ${label} is not usable: ${shown}`, {
    hints: ['the manifest is corrupt or was changed: use another backup, or another repository'],
  })
}

const MAX_PROBLEMS = 5

function* manifestProblems(manifest: Manifest, label: string): Generator<string> {
  const { references, type, prior } = manifest
  if (manifest.label !== label) yield `it belongs to backup ${manifest.label}`
  if (references.at(-1) !== manifest.label) yield 'its own label is not the last of its references'
  if (type !== 'full' && prior === undefined) yield `its type is ${type}, but it has no prior backup`
  yield* chainProblems({ label: parseBackupLabel(manifest.label), type, prior, references })
  yield* nameProblems(manifest)
  yield* storedProblems(manifest)
}

function* storedProblems({ files, references }: Manifest): Generator<string> {
  const chain = new Set(references)
  for (const file of files) {
    for (const problem of problemsOf(file, chain)) yield `${bytesToText(file.name)} ${problem}`
  }
}

function* problemsOf(file: ManifestFile, chain: ReadonlySet<string>): Generator<string> {
  if (file.reference !== undefined && !chain.has(file.reference)) {
    yield `refers to backup ${file.reference}, which is not in the chain`
  }
  if (file.sizeBytes === 0) {
    if ((file.checksum ?? SHA1_OF_NOTHING) !== SHA1_OF_NOTHING) yield 'is empty, but has the checksum of other content'
    return
  }
  if (file.checksum === undefined) yield 'has no checksum'
  if (file.repoSizeBytes === 0) yield 'has a stored size of 0'
  if (file.blockMapSize === undefined) return
  if (file.repoChecksum === undefined) yield 'is stored block incremental without a checksum of the stored bytes'
  if (file.blockMapSize > (file.repoSizeBytes ?? file.sizeBytes)) yield 'has a block map larger than its stored size'
}
