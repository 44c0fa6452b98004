import { compareBytes } from '../util/byte-string.ts'
import { PgtsError } from '../util/error.ts'
import { cipherSection } from './archive-info.ts'
import { integerText, parseJson, quoteJson, serialiseJson, type JsonObject, type JsonValue } from './canonical-json.ts'
import { withExtraLines } from './extra-lines.ts'
import { serialiseInfoFile, type InfoEntry, type InfoSection } from './info-file.ts'
import { withCarried } from './json-members.ts'
import type { ManifestDefaults, ManifestFile, ManifestTarget, Owner, OwnerName, WritableManifest } from './manifest.ts'

/** Block sizes are written in units of this many bytes. */
export const BLOCK_SIZE_UNIT = 8192
/** Omitted in the file if it has this value. */
export const DEFAULT_BLOCK_CHECKSUM_SIZE = 6

/**
 * The bytes of backup.manifest; for the same values those of pgBackRest. Entries of an array may be in any order.
 *
 * @throws PgtsError format if a name contains a line break
 */
export function serialiseManifest(manifest: WritableManifest, backrestVersion = manifest.backrestVersion): Buffer {
  const sections = withExtraLines(sectionsOf(manifest), manifest.extra)
  return serialiseInfoFile(sections, backrestVersion, FIXED_BYTES + manifest.files.length * FILE_BYTES)
}

/** A line of a file with all its members is shorter, unless the path is unusually long. */
const FILE_BYTES = 320
const FIXED_BYTES = 64 * 1024

function sectionsOf(manifest: WritableManifest): InfoSection[] {
  const { defaults, files, links, paths, databases, targets } = manifest
  return [
    { name: 'backup', entries: backupEntries(manifest) },
    { name: 'backup:db', entries: databaseEntries(manifest) },
    { name: 'backup:option', entries: optionEntries(manifest) },
    { name: 'backup:target', entries: named(targets, (target) => serialiseJson(targetMembers(target))) },
    ...cipherSection(manifest.cipherPass),
    {
      name: 'db',
      entries: named(databases, ({ oid, lastSystemOid }) => `{"db-id":${oid},"db-last-system-id":${lastSystemOid}}`),
    },
    { name: 'metadata', entries: annotationEntries(manifest) },
    { name: 'target:file', entries: named(files, (file) => fileText(file, defaults.file)) },
    { name: 'target:file:default', entries: defaultEntries(defaults.file, defaults.file.mode) },
    {
      name: 'target:link',
      entries: named(links, (link) => `{"destination":${quoteJson(link.destination)}${linkOwner(link, defaults)}}`),
    },
    { name: 'target:link:default', entries: links.length === 0 ? [] : defaultEntries(defaults.link ?? defaults.path) },
    { name: 'target:path', entries: named(paths, (path) => pathText(path, defaults.path)) },
    { name: 'target:path:default', entries: defaultEntries(defaults.path, defaults.path.mode) },
  ]
}

function* backupEntries(manifest: WritableManifest): Iterable<InfoEntry> {
  const time = integerText
  if (manifest.archiveStart !== undefined) yield ['backup-archive-start', quoteJson(manifest.archiveStart)]
  if (manifest.archiveStop !== undefined) yield ['backup-archive-stop', quoteJson(manifest.archiveStop)]
  if (manifest.blockIncremental) yield ['backup-block-incr', 'true']
  if (manifest.bundle) yield ['backup-bundle', 'true']
  if (manifest.bundleRaw) yield ['backup-bundle-raw', 'true']
  yield ['backup-label', quoteJson(manifest.label)]
  if (manifest.lsnStart !== undefined) yield ['backup-lsn-start', quoteJson(manifest.lsnStart)]
  if (manifest.lsnStop !== undefined) yield ['backup-lsn-stop', quoteJson(manifest.lsnStop)]
  if (manifest.prior !== undefined) yield ['backup-prior', quoteJson(manifest.prior)]
  yield ['backup-reference', quoteJson(manifest.references.join(','))]
  yield ['backup-timestamp-copy-start', time(manifest.timestampCopyStart)]
  yield ['backup-timestamp-start', time(manifest.timestampStart)]
  yield ['backup-timestamp-stop', time(manifest.timestampStop)]
  yield ['backup-type', quoteJson(manifest.type)]
}

function databaseEntries({ db }: WritableManifest): InfoEntry[] {
  return [
    ['db-catalog-version', integerText(db.catalogVersion)],
    ['db-control-version', integerText(db.controlVersion)],
    ['db-id', integerText(db.historyId)],
    ['db-system-id', String(db.systemId)],
    ['db-version', quoteJson(db.version)],
  ]
}

function* optionEntries({ options }: WritableManifest): Iterable<InfoEntry> {
  const values: [string, JsonValue | undefined][] = [
    ['option-archive-check', options.archiveCheck],
    ['option-archive-copy', options.archiveCopy],
    ['option-backup-standby', options.backupStandby],
    ['option-buffer-size', options.bufferSize],
    ['option-checksum-page', options.checksumPage],
    ['option-compress', options.compress],
    ['option-compress-level', options.compressLevel],
    ['option-compress-level-network', options.compressLevelNetwork],
    ['option-compress-type', options.compressType],
    ['option-delta', options.delta],
    ['option-hardlink', options.hardlink],
    ['option-online', options.online],
    ['option-process-max', options.processMax],
  ]
  for (const [key, value] of values) if (value !== undefined) yield [key, serialiseJson(value)]
}

function annotationEntries({ annotations }: WritableManifest): InfoEntry[] {
  return annotations.size === 0 ? [] : [['annotation', serialiseJson(annotations)]]
}

function targetMembers(target: ManifestTarget): JsonObject {
  return withCarried({
    file: target.file,
    path: target.path,
    'tablespace-id': target.tablespaceId,
    'tablespace-name': target.tablespaceName,
    type: target.type,
  })
}

/** Sorted by name; without a copy if the list is sorted already, as it nearly always is. */
function* named<T extends { readonly name: string }>(
  list: Iterable<T>,
  text: (item: T) => string,
): Iterable<InfoEntry> {
  for (const item of isArray(list) ? inOrder(list) : list) yield [item.name, text(item)]
}

function isArray<T>(list: Iterable<T>): list is readonly T[] {
  return Array.isArray(list)
}

function inOrder<T extends { readonly name: string }>(list: readonly T[]): readonly T[] {
  for (let i = 1; i < list.length; i++) {
    const order = compareBytes((list[i - 1] as T).name, (list[i] as T).name)
    if (order === 0) throw new PgtsError('assert', `'${(list[i] as T).name}' is twice in the manifest`)
    if (order > 0) return inOrder([...list].sort((a, b) => compareBytes(a.name, b.name)))
  }
  return list
}

function fileText(file: ManifestFile, standard: Owner & { readonly mode: number }): string {
  let text = '{'
  if (file.blockSize !== undefined) {
    text += `"bi":${integerText(file.blockSize / BLOCK_SIZE_UNIT)},`
    const checksumSize = file.blockChecksumSize ?? DEFAULT_BLOCK_CHECKSUM_SIZE
    if (checksumSize !== DEFAULT_BLOCK_CHECKSUM_SIZE) text += `"bic":${integerText(checksumSize)},`
    if (file.blockMapSize !== undefined) text += `"bim":${integerText(file.blockMapSize)},`
  }
  if (file.bundleId !== undefined) {
    text += `"bni":${integerText(file.bundleId)},`
    if (file.bundleOffset !== undefined && file.bundleOffset !== 0) text += `"bno":${integerText(file.bundleOffset)},`
  }
  if (file.checksum !== undefined && file.sizeBytes !== 0) text += `"checksum":"${file.checksum}",`
  if (file.checksumPage !== undefined) {
    text += file.checksumPage ? '"checksum-page":true,' : '"checksum-page":false,'
    if (file.checksumPageErrors !== undefined)
      text += `"checksum-page-error":${serialiseJson(file.checksumPageErrors)},`
  }
  if (file.group !== standard.group) text += `"group":${ownerText(file.group)},`
  if (file.mode !== standard.mode) text += `"mode":"${modeText(file.mode)}",`
  if (file.repoChecksum !== undefined) text += `"rck":"${file.repoChecksum}",`
  if (file.reference !== undefined) text += `"reference":${quoteJson(file.reference)},`
  if (file.repoSizeBytes !== undefined && file.repoSizeBytes !== file.sizeBytes) {
    text += `"repo-size":${integerText(file.repoSizeBytes)},`
  }
  text += `"size":${integerText(file.sizeBytes)},`
  if (file.sizeOriginalBytes !== undefined && file.sizeOriginalBytes !== file.sizeBytes) {
    text += `"szo":${integerText(file.sizeOriginalBytes)},`
  }
  text += `"timestamp":${integerText(file.timestamp)}`
  if (file.user !== standard.user) text += `,"user":${ownerText(file.user)}`
  text += '}'
  return file.extra === undefined ? text : withFileExtra(text, file.extra)
}

function withFileExtra(text: string, extra: JsonObject): string {
  return serialiseJson(new Map([...extra, ...(parseJson(text) as JsonObject)]))
}

function pathText(path: Owner & { readonly mode: number }, standard: Owner & { readonly mode: number }): string {
  const members: string[] = []
  if (path.group !== standard.group) members.push(`"group":${ownerText(path.group)}`)
  if (path.mode !== standard.mode) members.push(`"mode":"${modeText(path.mode)}"`)
  if (path.user !== standard.user) members.push(`"user":${ownerText(path.user)}`)
  return `{${members.join(',')}}`
}

function linkOwner(link: Owner, defaults: ManifestDefaults): string {
  const standard = defaults.link ?? defaults.path
  let text = ''
  if (link.group !== standard.group) text += `,"group":${ownerText(link.group)}`
  if (link.user !== standard.user) text += `,"user":${ownerText(link.user)}`
  return text
}

function defaultEntries(owner: Owner, mode?: number): InfoEntry[] {
  const entries: InfoEntry[] = [['group', ownerText(owner.group)]]
  if (mode !== undefined) entries.push(['mode', `"${modeText(mode)}"`])
  entries.push(['user', ownerText(owner.user)])
  return entries
}

function ownerText(owner: OwnerName): string {
  return owner === false ? 'false' : quoteJson(owner)
}

function modeText(mode: number): string {
  return mode.toString(8).padStart(4, '0')
}
