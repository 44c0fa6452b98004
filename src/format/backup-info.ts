import { bytesToText, compareBytes, type ByteString } from '../util/byte-string.ts'
import { PgtsError } from '../util/error.ts'
import { cipherSection, currentHistory, readCipherPass, readCurrentId, readHistory } from './archive-info.ts'
import { chainProblems, isBackupLabel } from './backup-label.ts'
import { quoteJson, serialiseJson, type JsonObject } from './canonical-json.ts'
import { extraLines, withExtraLines, type ExtraLine } from './extra-lines.ts'
import { parseInfoFile, serialiseInfoFile, type InfoSection } from './info-file.ts'
import { carriedMembers, Members, U32_MAX, withCarried } from './json-members.ts'
import { isBackupType, type BackupType } from './manifest.ts'

/** backup.info: the clusters of a stanza and its usable backups (docs/format/info-files.md). */
export interface BackupHistory {
  readonly id: number
  readonly systemId: bigint
  readonly version: string
  readonly catalogVersion: number
  readonly controlVersion: number
  /** Members of a newer release, kept unchanged. */
  readonly extra?: JsonObject
}

export interface BackupEntry {
  readonly label: string
  readonly backrestFormat: number
  readonly backrestVersion: string
  /** Keys and values are byte strings. */
  readonly annotations: ReadonlyMap<string, string>
  /** Segment with the start LSN; null for an offline backup. */
  readonly archiveStart: string | null
  readonly archiveStop: string | null
  /** True if any page checksum is invalid; undefined in backups made before 2.36. */
  readonly error?: boolean
  readonly repoSizeBytes: number
  readonly repoSizeDeltaBytes: number
  readonly repoSizeMapBytes?: number
  readonly repoSizeMapDeltaBytes?: number
  readonly sizeBytes: number
  readonly sizeDeltaBytes: number
  readonly lsnStart?: string
  readonly lsnStop?: string
  readonly prior?: string
  /** All other labels of the chain, sorted; undefined for a full. */
  readonly references?: readonly string[]
  /** Seconds since the epoch. */
  readonly timestampStart: number
  readonly timestampStop: number
  readonly type: BackupType
  readonly historyId: number
  readonly optionArchiveCheck: boolean
  readonly optionArchiveCopy: boolean
  readonly optionBackupStandby: boolean
  readonly optionChecksumPage: boolean
  readonly optionCompress: boolean
  readonly optionHardlink: boolean
  readonly optionOnline: boolean
  /** Members of a newer release, kept unchanged. */
  readonly extra?: JsonObject
}

export interface BackupInfo {
  readonly backrestVersion: string
  readonly currentId: number
  /** Oldest first. */
  readonly history: readonly BackupHistory[]
  /** Sorted by label. */
  readonly backups: readonly BackupEntry[]
  /** Passphrase of the manifests, in an encrypted repository. */
  readonly cipherPass?: string
  /** Lines of a newer release, kept unchanged. */
  readonly extra?: readonly ExtraLine[]
}

const WHAT = 'backup.info'

/** @throws PgtsError checksum, format, crypto: see parseInfoFile */
export function parseBackupInfo(bytes: Buffer): BackupInfo {
  const file = parseInfoFile(bytes, WHAT)
  const history = readHistory(WHAT, file, (id, members) => ({
    id,
    systemId: members.u64('db-system-id'),
    version: members.postgresVersion('db-version'),
    catalogVersion: members.integer('db-catalog-version', U32_MAX),
    controlVersion: members.integer('db-control-version', U32_MAX),
    ...carriedMembers(members.rest(), HISTORY_KEYS),
  }))
  const backups = new Map<string, BackupEntry>()
  for (const [label, value] of file.sections.get('backup:current')?.entries ?? []) {
    backups.set(label, readEntry(label, Members.ofJson(`${WHAT}, backup ${bytesToText(label)}`, value)))
  }
  return {
    backrestVersion: file.backrestVersion,
    currentId: readCurrentId(WHAT, file, history),
    history,
    backups: [...backups.values()].sort((a, b) => compareBytes(a.label, b.label)),
    ...readCipherPass(WHAT, file),
    ...extraLines(file, {
      cipher: ['cipher-pass'],
      'backup:current': 'all',
      db: [...HISTORY_KEYS, 'db-id'],
      'db:history': 'all',
    }),
  }
}

/** @param backrestVersion of the program that saves: `writerVersion`, unless a file is reproduced */
export function serialiseBackupInfo(info: BackupInfo, backrestVersion: string): Buffer {
  const current = currentHistory(info)
  const backups = [...info.backups].sort((a, b) => compareBytes(a.label, b.label))
  const sections: InfoSection[] = [
    { name: 'backup:current', entries: backups.map((entry) => [entry.label, serialiseJson(entryMembers(entry))]) },
    ...cipherSection(info.cipherPass),
    {
      name: 'db',
      entries: [
        ['db-catalog-version', String(current.catalogVersion)],
        ['db-control-version', String(current.controlVersion)],
        ['db-id', String(current.id)],
        ['db-system-id', String(current.systemId)],
        ['db-version', quoteJson(current.version)],
      ],
    },
    {
      name: 'db:history',
      entries: info.history.map((entry) => [String(entry.id), serialiseJson(historyMembers(entry))]),
    },
  ]
  return serialiseInfoFile(withExtraLines(sections, info.extra), backrestVersion)
}

/** The info file with one entry added or replaced. */
export function withBackup(info: BackupInfo, entry: BackupEntry): BackupInfo {
  const others = info.backups.filter(({ label }) => label !== entry.label)
  return { ...info, backups: [...others, entry].sort((a, b) => compareBytes(a.label, b.label)) }
}

/** The info file without these backups. */
export function withoutBackups(info: BackupInfo, labels: Iterable<string>): BackupInfo {
  const gone = new Set(labels)
  return { ...info, backups: info.backups.filter(({ label }) => !gone.has(label)) }
}

const HISTORY_KEYS = ['db-catalog-version', 'db-control-version', 'db-system-id', 'db-version']

function historyMembers(entry: BackupHistory): JsonObject {
  const members = {
    'db-catalog-version': entry.catalogVersion,
    'db-control-version': entry.controlVersion,
    'db-system-id': entry.systemId,
    'db-version': entry.version,
  }
  return withCarried(members, entry.extra)
}

function readEntry(label: ByteString, members: Members): BackupEntry {
  if (!isBackupLabel(label)) throw new PgtsError('format', `${WHAT}: '${bytesToText(label)}' is not a backup label`)
  const type = members.string('backup-type')
  if (!isBackupType(type)) {
    throw new PgtsError('format', `${members.where}: unknown backup type '${bytesToText(type)}'`)
  }
  const prior = members.optionalLabel('backup-prior')
  const references = members.labels('backup-reference')
  const problem = [...chainProblems({ label, type, prior, references: references ?? [] })][0]
  if (problem !== undefined) throw new PgtsError('format', `${members.where}: ${problem}`)
  const mapBytes = members.optionalInteger('backup-info-repo-size-map')
  return {
    label,
    backrestFormat: members.integer('backrest-format', U32_MAX),
    backrestVersion: members.string('backrest-version'),
    annotations: members.annotations('backup-annotation'),
    archiveStart: members.optionalSegment('backup-archive-start') ?? null,
    archiveStop: members.optionalSegment('backup-archive-stop') ?? null,
    error: members.optionalBoolean('backup-error'),
    repoSizeBytes: members.integer('backup-info-repo-size'),
    repoSizeDeltaBytes: members.integer('backup-info-repo-size-delta'),
    repoSizeMapBytes: mapBytes,
    repoSizeMapDeltaBytes: mapBytes === undefined ? undefined : members.integer('backup-info-repo-size-map-delta'),
    sizeBytes: members.integer('backup-info-size'),
    sizeDeltaBytes: members.integer('backup-info-size-delta'),
    lsnStart: members.optionalLsn('backup-lsn-start'),
    lsnStop: members.optionalLsn('backup-lsn-stop'),
    prior,
    references,
    timestampStart: members.time('backup-timestamp-start'),
    timestampStop: members.time('backup-timestamp-stop'),
    type,
    historyId: members.integer('db-id', U32_MAX),
    optionArchiveCheck: members.boolean('option-archive-check'),
    optionArchiveCopy: members.boolean('option-archive-copy'),
    optionBackupStandby: members.boolean('option-backup-standby'),
    optionChecksumPage: members.boolean('option-checksum-page'),
    optionCompress: members.boolean('option-compress'),
    optionHardlink: members.boolean('option-hardlink'),
    optionOnline: members.boolean('option-online'),
    ...carriedMembers(members.rest(), ENTRY_KEYS),
  }
}

function entryMembers(entry: BackupEntry): JsonObject {
  return withCarried(knownMembers(entry), entry.extra)
}

function knownMembers(entry: BackupEntry) {
  return {
    'backrest-format': entry.backrestFormat,
    'backrest-version': entry.backrestVersion,
    'backup-annotation': entry.annotations.size === 0 ? undefined : entry.annotations,
    'backup-archive-start': entry.archiveStart,
    'backup-archive-stop': entry.archiveStop,
    'backup-error': entry.error,
    'backup-info-repo-size': entry.repoSizeBytes,
    'backup-info-repo-size-delta': entry.repoSizeDeltaBytes,
    'backup-info-repo-size-map': entry.repoSizeMapBytes,
    'backup-info-repo-size-map-delta': entry.repoSizeMapDeltaBytes,
    'backup-info-size': entry.sizeBytes,
    'backup-info-size-delta': entry.sizeDeltaBytes,
    'backup-lsn-start': entry.lsnStart,
    'backup-lsn-stop': entry.lsnStop,
    'backup-prior': entry.prior,
    'backup-reference': entry.references,
    'backup-timestamp-start': entry.timestampStart,
    'backup-timestamp-stop': entry.timestampStop,
    'backup-type': entry.type,
    'db-id': entry.historyId,
    'option-archive-check': entry.optionArchiveCheck,
    'option-archive-copy': entry.optionArchiveCopy,
    'option-backup-standby': entry.optionBackupStandby,
    'option-checksum-page': entry.optionChecksumPage,
    'option-compress': entry.optionCompress,
    'option-hardlink': entry.optionHardlink,
    'option-online': entry.optionOnline,
  }
}

/** The names above; derived from the object, so that there is only one list. */
const ENTRY_KEYS = Object.keys(knownMembers({ annotations: new Map() } as unknown as BackupEntry))
