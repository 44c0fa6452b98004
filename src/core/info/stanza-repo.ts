import type { ArchiveInfo } from '../../format/archive-info.ts'
import type { BackupEntry, BackupHistory, BackupInfo } from '../../format/backup-info.ts'
import type { Manifest } from '../../format/manifest.ts'
import { EXIT_CODES, isPgtsError, toPlainError, type ErrorCode } from '../../util/error.ts'
import { bytes, textToBytes, type ByteString } from '../../util/byte-string.ts'
import { inParallel } from '../../util/parallel.ts'
import type { Pin } from '../expire/pins.ts'
import { loadArchiveInfo } from '../archive-info-store.ts'
import { loadBackupInfo } from '../backup-info-store.ts'
import { loadManifest } from '../manifest-store.ts'
import type { Repository } from '../repository.ts'
import { loadIndex } from '../window/times-index.ts'
import type { TimesArchive } from '../window/times-store.ts'
import { recoverableWindow, windowLimits, type RecoverableWindow } from '../window/read.ts'
import { archiveIdFor, archiveLayout, type ArchiveLayout } from './archive-range.ts'
import { loadOwnFiles } from './own-files.ts'
import {
  STATUS,
  STATUS_MESSAGES,
  type InfoArchive,
  type InfoDetails,
  type InfoBackup,
  type InfoCluster,
  type InfoDrill,
  type Status,
} from './report.ts'
import { markHandled } from '../../util/mark-handled.ts'

/** The state of a stanza in one repository. */
export interface StanzaInRepo {
  readonly status: Status
  readonly clusters: readonly InfoCluster[]
  readonly archives: readonly InfoArchive[]
  /** By label. */
  readonly backups: readonly InfoBackup[]
  readonly current?: { readonly systemId: bigint; readonly version: string }
  readonly drill?: InfoDrill
  /** Both info files were read. */
  readonly readable: boolean
}

export interface StanzaRequest {
  readonly repository: Repository
  readonly stanza: string
  /** The backup whose details are requested, if this repository has it. */
  readonly set?: string
  /** Also read which points in time can be reached. */
  readonly windows: boolean
  /** Also read the last drill. */
  readonly drills: boolean
  readonly signal: AbortSignal
}

/** Reads one stanza of one repository. A failure becomes its status: one broken repository must not hide the others. */
export async function readStanza(request: StanzaRequest): Promise<StanzaInRepo> {
  const { repository, stanza, signal } = request
  const { storage } = repository
  // Requested in parallel, evaluated in order: without backup.info the other results are not needed.
  const archiveLoaded = loadArchiveInfo(repository, stanza, { signal })
  markHandled(archiveLoaded)
  const own = loadOwnFiles(repository, stanza, request.drills, signal)
  let info: BackupInfo
  try {
    info = await loadBackupInfo(repository, stanza, { signal })
  } catch (error) {
    signal.throwIfAborted()
    return emptyStanza(isPgtsError(error, 'file-missing') ? statusOf(STATUS.missingData) : otherStatus(error))
  }
  const current = info.history.find(({ id }) => id === info.currentId)
  const cluster = current === undefined ? {} : { current: { systemId: current.systemId, version: current.version } }
  let archive: ArchiveInfo
  let manifest: Manifest | undefined
  try {
    archive = await archiveLoaded
    if (request.set !== undefined) manifest = await loadManifest(storage, stanza, request.set, info, { signal })
  } catch (error) {
    signal.throwIfAborted()
    return { ...emptyStanza(otherStatus(error)), ...cluster }
  }

  const clusters: InfoCluster[] = info.history.map(({ id, systemId, version }) => ({
    repoKey: request.repository.key,
    historyId: id,
    systemId,
    version,
  }))
  const archives: InfoArchive[] = []
  try {
    for await (const one of archivesOf(request, info, archive)) archives.push(one)
  } catch (error) {
    signal.throwIfAborted()
    return { ...emptyStanza(otherStatus(error)), clusters, archives, ...cluster }
  }
  const drill = await own.drill
  const pins = new Map((await own.pins).map((pin) => [pin.label, pin]))
  return {
    status: statusOf(info.backups.length === 0 ? STATUS.noBackup : STATUS.ok),
    clusters,
    archives,
    backups: info.backups.map((entry) =>
      backupReport(
        entry,
        request.repository.key,
        entry.label === request.set ? manifest : undefined,
        pins.get(entry.label),
      ),
    ),
    ...cluster,
    ...(drill === undefined ? {} : { drill }),
    readable: true,
  }
}

/** The archive ids that have WAL, and the current one. */
async function* archivesOf(
  request: StanzaRequest,
  info: BackupInfo,
  archive: ArchiveInfo,
): AsyncGenerator<InfoArchive> {
  const { repository, stanza, signal } = request
  const { key, storage } = repository
  const found = await inParallel(info.history, storage.parallel ?? 1, async (history) => {
    const archiveId = archiveIdFor(archive, history)
    const window = request.windows ? beginWindow(request, { archive, archiveId, info, history }) : undefined
    const layout = await archiveLayout(storage, stanza, archiveId, signal)
    return { history, archiveId, layout, window: await window?.(layout) }
  })
  for (const { history, archiveId, layout, window } of found) {
    const { min, max } = layout
    if (min === null && history !== info.history.at(-1)) continue
    yield { repoKey: key, historyId: history.id, archiveId, min, max, ...(window === undefined ? {} : { window }) }
  }
}

interface ArchiveOf {
  readonly archive: ArchiveInfo
  readonly archiveId: string
  readonly info: BackupInfo
  readonly history: BackupHistory
}

/**
 * Reads the window, which is only an addition to the report: without it, everything else is shown. The index is requested at
 * once, the rest when the layout is known.
 */
function beginWindow(
  { repository, stanza, signal }: StanzaRequest,
  { archive, archiveId, info, history }: ArchiveOf,
): ((layout: ArchiveLayout) => Promise<RecoverableWindow | undefined>) | undefined {
  const backups = info.backups.filter(({ historyId }) => historyId === history.id)
  if (backups.length === 0) return undefined
  const times: TimesArchive = {
    ...{ storage: repository.storage, stanza, archiveId, signal },
    ...(archive.cipherPass === undefined ? {} : { cipherPass: archive.cipherPass }),
  }
  const index = loadIndex(times)
  markHandled(index)
  return async (layout) => {
    try {
      return await recoverableWindow({ ...times, layout, index, backups, ...windowLimits(repository.storage) })
    } catch {
      signal.throwIfAborted()
      return undefined
    }
  }
}

export function emptyStanza(status: Status): StanzaInRepo {
  return { status, clusters: [], archives: [], backups: [], readable: false }
}

export function statusOf(code: Exclude<Status['code'], 99>): Status {
  return { code, message: STATUS_MESSAGES[code] }
}

/** The status of any other failure: `[FileOpenError] message`, with hints below. */
export function otherStatus(error: unknown): Status {
  const { code, message, hints } = toPlainError(error)
  const lines = [`[${errorName(code)}] ${message}`, ...hints.map((hint) => `HINT: ${hint}`)]
  return { code: STATUS.other, message: lines.join('\n') }
}

/** Name of an error in pgBackRest, which scripts match: `file-open` is `FileOpenError`. */
function errorName(code: ErrorCode): string {
  const words = code in EXIT_CODES ? code.split('-') : ['unknown']
  return `${words.map((word) => (word[0] as string).toUpperCase() + word.slice(1)).join('')}Error`
}

function backupReport(
  entry: BackupEntry,
  repoKey: number,
  manifest: Manifest | undefined,
  pin: Pin | undefined,
): InfoBackup {
  const details = manifest === undefined ? undefined : detailsOf(manifest)
  const error = details !== undefined && details.errorFiles.length > 0 ? true : entry.error
  return {
    repoKey,
    historyId: entry.historyId,
    label: entry.label,
    type: entry.type,
    prior: entry.prior ?? null,
    references: entry.references ?? null,
    archiveStart: entry.archiveStart,
    archiveStop: entry.archiveStop,
    lsnStart: entry.lsnStart,
    lsnStop: entry.lsnStop,
    backrestFormat: entry.backrestFormat,
    backrestVersion: entry.backrestVersion,
    sizeBytes: entry.sizeBytes,
    sizeDeltaBytes: entry.sizeDeltaBytes,
    repoSizeBytes: entry.repoSizeBytes,
    repoSizeDeltaBytes: entry.repoSizeDeltaBytes,
    repoSizeMapBytes: entry.repoSizeMapBytes,
    repoSizeMapDeltaBytes: entry.repoSizeMapDeltaBytes,
    timestampStart: entry.timestampStart,
    timestampStop: entry.timestampStop,
    error,
    annotations: entry.annotations,
    pin: pin === undefined ? undefined : pinReport(pin),
    details,
  }
}

function pinReport({ reason, since, until }: Pin): NonNullable<InfoBackup['pin']> {
  return {
    reason: reason === undefined ? undefined : textToBytes(reason),
    since,
    until,
  }
}

/** PostgreSQL's template databases, which are not shown. */
const TEMPLATES = new Set(['template0', 'template1'])

function detailsOf(manifest: Manifest): InfoDetails {
  const links: { name: ByteString; destination: ByteString }[] = []
  const tablespaces: { name: ByteString; oid: number; destination: ByteString }[] = []
  for (const target of manifest.targets) {
    if (target.type !== 'link') continue
    if (target.tablespaceName !== undefined) {
      const oid = Number(target.tablespaceId)
      tablespaces.push({ name: target.tablespaceName, oid, destination: target.path })
    } else if (target.file !== undefined) {
      links.push({ name: target.file, destination: bytes`${target.path}/${target.file}` })
    } else links.push({ name: pgName(target.name), destination: target.path })
  }
  return {
    databases: manifest.databases.filter(({ name }) => !TEMPLATES.has(name)).map(({ name, oid }) => ({ name, oid })),
    links,
    tablespaces,
    errorFiles: damagedFiles(manifest),
  }
}

function damagedFiles({ files }: Manifest): ByteString[] {
  const damaged: ByteString[] = []
  for (const { name, checksumPage } of files) if (checksumPage === false) damaged.push(pgName(name))
  return damaged
}

/** Converts a manifest name to the path in the data directory. */
function pgName(name: ByteString): ByteString {
  return name.startsWith('pg_data/') ? name.slice('pg_data/'.length) : name
}
