import { asBytes, bytesToText, compareBytes, type ByteString } from '../util/byte-string.ts'
import { isCompressType } from '../util/compress-type.ts'
import { PgtsError } from '../util/error.ts'
import { readCipherPass } from './archive-info.ts'
import { isBackupLabel } from './backup-label.ts'
import { extraLines } from './extra-lines.ts'
import { parseInfoFile, type InfoFile, type ReadSection } from './info-file.ts'
import { Members, U32_MAX } from './json-members.ts'
import { isSafeManifestName } from './manifest-names.ts'
import { ManifestFileTable } from './manifest-file-table.ts'
import { ManifestFileReader, MODE_MASK } from './manifest-file-reader.ts'
import {
  isBackupType,
  type BackupType,
  type CompressType,
  type Manifest,
  type ManifestDatabase,
  type ManifestDefaults,
  type ManifestFileList,
  type ManifestLink,
  type ManifestOptions,
  type ManifestPath,
  type ManifestTarget,
  type OwnerName,
} from './manifest.ts'

const WHAT = 'backup.manifest'

/**
 * Parses backup.manifest or its copy, complete or partial. Checks that names stay inside the data directory and the
 * tablespaces; `checkManifest` checks that the backup is complete.
 *
 * @throws PgtsError checksum, format, crypto: see parseInfoFile
 */
export function parseManifest(bytes: Buffer): Manifest {
  const file = parseInfoFile(bytes, WHAT)
  const members = (section: string) => Members.ofSection(`${WHAT}, [${section}]`, file.sections.get(section))
  const backup = members('backup')
  const label = backup.label('backup-label')
  const defaults = readDefaults(file)
  const files = readFiles(file, defaults)
  const manifest: Manifest = {
    backrestVersion: file.backrestVersion,
    label,
    type: readType(backup),
    prior: backup.optionalLabel('backup-prior'),
    references: readReferences(backup) ?? referencesOf(files, label),
    archiveStart: backup.optionalSegment('backup-archive-start'),
    archiveStop: backup.optionalSegment('backup-archive-stop'),
    lsnStart: backup.optionalLsn('backup-lsn-start'),
    lsnStop: backup.optionalLsn('backup-lsn-stop'),
    timestampStart: backup.time('backup-timestamp-start'),
    timestampCopyStart: backup.time('backup-timestamp-copy-start'),
    timestampStop: backup.time('backup-timestamp-stop'),
    bundle: backup.optionalBoolean('backup-bundle') ?? false,
    bundleRaw: backup.optionalBoolean('backup-bundle-raw') ?? false,
    blockIncremental: backup.optionalBoolean('backup-block-incr') ?? false,
    db: readDb(members('backup:db')),
    options: readOptions(members('backup:option')),
    targets: readEach(file, 'backup:target', readTarget),
    ...readCipherPass(WHAT, file),
    databases: readEach(file, 'db', readDatabase),
    annotations: members('metadata').annotations('annotation'),
    files,
    links: readEach(file, 'target:link', (name, link) => readLink(name, link, defaults)),
    paths: readEach(file, 'target:path', (name, path) => readPath(name, path, defaults)),
    defaults,
    ...extraLines(file, KNOWN),
  }
  return manifest
}

const KNOWN: Readonly<Record<string, readonly string[] | 'all'>> = {
  backup: [
    'backup-archive-start',
    'backup-archive-stop',
    'backup-block-incr',
    'backup-bundle',
    'backup-bundle-raw',
    'backup-label',
    'backup-lsn-start',
    'backup-lsn-stop',
    'backup-prior',
    'backup-reference',
    'backup-timestamp-copy-start',
    'backup-timestamp-start',
    'backup-timestamp-stop',
    'backup-type',
  ],
  'backup:db': ['db-catalog-version', 'db-control-version', 'db-id', 'db-system-id', 'db-version'],
  'backup:option': [
    'option-archive-check',
    'option-archive-copy',
    'option-backup-standby',
    'option-buffer-size',
    'option-checksum-page',
    'option-compress',
    'option-compress-level',
    'option-compress-level-network',
    'option-compress-type',
    'option-delta',
    'option-hardlink',
    'option-online',
    'option-process-max',
  ],
  'backup:target': 'all',
  cipher: ['cipher-pass'],
  db: 'all',
  metadata: ['annotation'],
  'target:file': 'all',
  'target:file:default': ['group', 'mode', 'user'],
  'target:link': 'all',
  'target:link:default': ['group', 'user'],
  'target:path': 'all',
  'target:path:default': ['group', 'mode', 'user'],
}

function readType(backup: Members): BackupType {
  const type = backup.string('backup-type')
  if (isBackupType(type)) return type
  throw new PgtsError('format', `${backup.where}: unknown backup type '${bytesToText(type)}'`)
}

function readDb(db: Members): Manifest['db'] {
  return {
    historyId: db.integer('db-id', U32_MAX),
    systemId: db.u64('db-system-id'),
    version: db.postgresVersion('db-version'),
    catalogVersion: db.integer('db-catalog-version', U32_MAX),
    controlVersion: db.integer('db-control-version', U32_MAX),
  }
}

function readOptions(options: Members): ManifestOptions {
  const compress = options.boolean('option-compress')
  return {
    archiveCheck: options.boolean('option-archive-check'),
    archiveCopy: options.boolean('option-archive-copy'),
    backupStandby: options.optionalBoolean('option-backup-standby'),
    bufferSize: options.optionalInteger('option-buffer-size', U32_MAX),
    checksumPage: options.optionalBoolean('option-checksum-page') ?? false,
    compress,
    compressLevel: options.optionalInteger('option-compress-level', U32_MAX),
    compressLevelNetwork: options.optionalInteger('option-compress-level-network', U32_MAX),
    compressType: readCompressType(options, compress),
    delta: options.optionalBoolean('option-delta'),
    hardlink: options.boolean('option-hardlink'),
    online: options.boolean('option-online'),
    processMax: options.optionalInteger('option-process-max', U32_MAX),
  }
}

/** Before 2.25 the only compression was gz. */
function readCompressType(options: Members, compress: boolean): CompressType {
  const type = options.optionalString('option-compress-type') ?? (compress ? asBytes('gz') : asBytes('none'))
  if (isCompressType(type)) return type
  throw new PgtsError('format', `${options.where}: unknown compress type '${bytesToText(type)}'`)
}

function readDefaults(file: InfoFile): ManifestDefaults {
  const members = (kind: string) => {
    const section = `target:${kind}:default`
    return Members.ofSection(`${WHAT}, [${section}]`, file.sections.get(section))
  }
  const owner = (from: Members) => ({ user: readOwner(from, 'user', false), group: readOwner(from, 'group', false) })
  const [files, paths, links] = [members('file'), members('path'), members('link')]
  return {
    file: { ...owner(files), mode: readMode(files, 0o600) },
    path: { ...owner(paths), mode: readMode(paths, 0o700) },
    link: links.has('user') || links.has('group') ? owner(links) : undefined,
  }
}

function readFiles(file: InfoFile, defaults: ManifestDefaults): ManifestFileList {
  const section = file.sections.get('target:file')
  if (section === undefined) return []
  const reader = new ManifestFileReader(section, defaults.file, WHAT)
  const table = new ManifestFileTable(section.length)
  for (let i = 0; i < section.length; i++) requireSafe(reader.read(i, table))
  const twice = table.sort()
  if (twice !== undefined) throw listedTwice(twice)
  return table
}

function readReferences(backup: Members): string[] | undefined {
  const references = backup.optionalString('backup-reference')?.split(',')
  const wrong = references?.find((label) => !isBackupLabel(label))
  if (wrong === undefined) return references
  throw new PgtsError('format', `${backup.where}: '${bytesToText(wrong)}' in backup-reference is not a backup label`)
}

/**
 * Manifests made before 2.42 have no list of references: it is derived from the references of the files, then the
 * backup itself.
 */
function referencesOf(files: ManifestFileList, label: string): string[] {
  const references = new Set<string>()
  for (const { reference } of files) if (reference !== undefined) references.add(reference)
  references.delete(label)
  return [...references, label]
}

function readTarget(name: ByteString, target: Members): ManifestTarget {
  const type: string = target.string('type')
  if (type !== 'path' && type !== 'link') {
    throw new PgtsError('format', `${target.where}: unknown type '${bytesToText(asBytes(type))}'`)
  }
  const tablespaceId = target.optionalString('tablespace-id')
  if (tablespaceId !== undefined && !/^[0-9]{1,10}$/.test(tablespaceId)) {
    throw new PgtsError('format', `${target.where}: '${bytesToText(tablespaceId)}' is not the oid of a tablespace`)
  }
  return safe({
    name,
    type,
    path: target.string('path'),
    file: target.optionalString('file'),
    tablespaceId,
    tablespaceName: target.optionalString('tablespace-name'),
  })
}

function readDatabase(name: ByteString, database: Members): ManifestDatabase {
  return {
    name,
    oid: database.integer('db-id', U32_MAX),
    lastSystemOid: database.integer('db-last-system-id', U32_MAX),
  }
}

function readLink(name: ByteString, link: Members, defaults: ManifestDefaults): ManifestLink {
  const standard = defaults.link ?? defaults.path
  return safe({
    name,
    user: readOwner(link, 'user', standard.user),
    group: readOwner(link, 'group', standard.group),
    destination: link.string('destination'),
  })
}

function readPath(name: ByteString, path: Members, defaults: ManifestDefaults): ManifestPath {
  return safe({
    name,
    user: readOwner(path, 'user', defaults.path.user),
    group: readOwner(path, 'group', defaults.path.group),
    mode: readMode(path, defaults.path.mode),
  })
}

function readOwner(members: Members, key: 'user' | 'group', standard: OwnerName): OwnerName {
  const value = members.take(key) ?? standard
  if (value === false) return false
  if (typeof value === 'string') return asBytes(value)
  throw new PgtsError('format', `${members.where}: '${key}' must be a name or false`)
}

function readMode(members: Members, standard: number): number {
  const text = members.optionalString('mode')
  if (text === undefined) return standard
  if (!/^[0-7]{1,4}$/.test(text))
    throw new PgtsError('format', `${members.where}: '${bytesToText(text)}' is not a file mode`)
  return parseInt(text, 8) & MODE_MASK
}

function readEach<T extends { readonly name: ByteString }>(
  file: InfoFile,
  name: string,
  read: (key: ByteString, members: Members) => T,
): T[] {
  const section: ReadSection | undefined = file.sections.get(name)
  const items: T[] = []
  for (const [key, value] of section?.entries ?? [])
    items.push(read(key, Members.ofJson(`${WHAT}, [${name}] ${bytesToText(key)}`, value)))
  return sortedByName(items)
}

function safe<T extends { readonly name: ByteString }>(item: T): T {
  requireSafe(item.name)
  return item
}

function requireSafe(name: ByteString): void {
  if (isSafeManifestName(name)) return
  throw new PgtsError('format', `${WHAT}: the name '${bytesToText(name)}' is outside the data directory`, {
    hints: ['do not restore this backup, and check who can write to the repository'],
  })
}

/** Sorts in place; a file written with another sort order is still read correctly. */
function sortedByName<T extends { readonly name: ByteString }>(items: T[]): T[] {
  if (!isSorted(items)) items.sort((a, b) => compareBytes(a.name, b.name))
  for (let i = 1; i < items.length; i++) {
    const { name } = items[i] as T
    if (name === (items[i - 1] as T).name) throw listedTwice(name)
  }
  return items
}

function listedTwice(name: ByteString): PgtsError {
  return new PgtsError('format', `${WHAT}: '${bytesToText(name)}' is listed twice`)
}

function isSorted(items: readonly { readonly name: string }[]): boolean {
  for (let i = 1; i < items.length; i++) if ((items[i - 1]?.name ?? '') > (items[i]?.name ?? '')) return false
  return true
}
