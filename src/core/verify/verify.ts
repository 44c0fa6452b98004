import { parseArchiveInfo, archiveIdOf, type ArchiveInfo } from '../../format/archive-info.ts'
import { parseBackupInfo, type BackupEntry, type BackupInfo } from '../../format/backup-info.ts'
import { checkManifest, parseManifest, type Manifest } from '../../format/manifest.ts'
import { archiveIdPath, archiveInfoName, backupInfoName, manifestName } from '../../format/repo-path.ts'
import { compareLabels } from '../../format/backup-label.ts'
import type { Clock } from '../../util/clock.ts'
import { PgtsError } from '../../util/error.ts'
import type { Logger } from '../../util/log.ts'
import { inParallel } from '../../util/parallel.ts'
import type { Executor } from '../../worker/executor.ts'
import { sealOfManifests, sealOfPlace, type InfoPlace } from '../info-seal.ts'
import type { jobHandlers } from '../jobs.ts'
import { labelDirectories } from '../reconcile.ts'
import { isSameHistory } from '../stanza/check-info.ts'
import { verifyArchive } from './archive.ts'
import { backupPieces, type BackupPieces } from './backup-pieces.ts'
import { inspectPair } from './info-pair.ts'
import { judgeBackups, judgeGaps, type KnownBackup } from './judge.ts'
import { backupPart } from './parts.ts'
import type { ProvenPiece } from './prove-stored.ts'
import type { FaultyFile, Problem, VerifyReport } from './report.ts'
import { provePlanned, type PlannedPart } from './run.ts'
import { bytesToText } from '../../util/byte-string.ts'

export interface VerifyRequest {
  readonly place: InfoPlace & { readonly key: number }
  readonly stanza: string
  /** Only this backup, the backups that it builds on, and the WAL that makes it consistent. */
  readonly set?: string
  readonly executor: Executor<typeof jobHandlers>
  readonly provenSinceMs?: number
  readonly deadlineMs?: number
  readonly clock: Clock
  readonly log: Logger
  readonly signal: AbortSignal
}

/**
 * Prove one repository of a stanza: every info file and manifest with its copy, every file of every backup, every
 * segment of WAL; and tell what is lost by what is wrong. Nothing is changed but what verify remembers for itself.
 */
export async function verifyRepository(request: VerifyRequest): Promise<VerifyReport> {
  const { place, stanza, signal, log } = request
  const { storage } = place
  const problems: Problem[] = []
  const error = (message: string) => problems.push({ level: 'error', message })
  const note = (message: string) => problems.push({ level: 'note', message })

  const { archiveInfo, backupInfo } = await inspectInfo(request, error)
  const archives = archiveInfo === undefined ? [] : await verifyArchive(request, archiveInfo, error, note)
  const backups = backupInfo === undefined ? [] : await inspectBackups(request, backupInfo, error, note)
  if (request.set !== undefined && backupInfo !== undefined && !backups.some(({ label }) => label === request.set)) {
    throw new PgtsError('backup-set-invalid', `stanza ${stanza} on repo${place.key} has no backup ${request.set}`, {
      hints: ['see the info command for the backups there are'],
    })
  }
  const { wantedLabels, wantedWal } = wanted(request, backups)

  // What each backup stores is known once its turn has come.
  const contents = new Map<string, BackupPieces>()
  const plan: PlannedPart[] = [
    ...archives.flatMap((archive) => archive.plan(wantedWal)),
    ...backups.flatMap(({ label, manifest }) =>
      manifest === undefined || !wantedLabels(label)
        ? []
        : [{ key: `backup/${label}`, load: async () => backupPart(manifest, (await contentsOf(label, manifest))!) }],
    ),
  ]
  async function contentsOf(label: string, manifest: Manifest | undefined): Promise<BackupPieces | undefined> {
    if (manifest === undefined) return undefined
    const known = contents.get(label) ?? (await backupPieces(storage, stanza, manifest, signal))
    contents.set(label, known)
    return known
  }

  const read = new Map<string, { checked: number; faulty: FaultyFile[] }>()
  const onPiece = (key: string, { name, repoName, fault, reason = '' }: ProvenPiece) => {
    const seen = read.get(key) ?? { checked: 0, faulty: [] }
    read.set(key, seen)
    seen.checked++
    if (fault === undefined) return
    seen.faulty.push({ name, repoName, fault, reason })
  }
  const proved = await provePlanned({ ...request, storage, plan, nowMs: () => request.clock.nowMs(), onPiece })

  // A file that expire has removed meanwhile was not lost: nothing is said of what is not there to be kept any more.
  const still = await stillThere(request, backups)
  const judged = await judgeBackups({
    backups: backups.filter(({ label }) => wantedLabels(label) && still(label)),
    contentsOf: ({ label, manifest }) => contentsOf(label, manifest),
    readOf: (label) => read.get(`backup/${label}`),
    archives,
    faultyWal: (archiveId) => faultyOf(archiveId),
  })
  function faultyOf(archiveId: string): FaultyFile[] {
    return [...read].flatMap(([key, { faulty }]) => (key.startsWith(`archive/${archiveId}/`) ? faulty : []))
  }
  const archiveResults = await Promise.all(
    archives.map(async (archive) => {
      const parts = [...read].filter(([key]) => key.startsWith(`archive/${archive.archiveId}/`))
      const checked = parts.reduce((sum, [, seen]) => sum + seen.checked, 0)
      const gone = new Set<string>()
      for (const file of faultyOf(archive.archiveId)) {
        if (file.fault === 'missing' && (await expired(request, archive.archiveId, file.name))) gone.add(file.repoName)
      }
      const faulty = faultyOf(archive.archiveId).filter(({ repoName }) => !gone.has(repoName))
      const { ranges } = archive
      const gaps = judgeGaps(archive, backups)
      for (const { first, last, missing, byExpire } of gaps) {
        const which = missing === 1 ? `WAL segment ${first} is` : `${missing} WAL segments from ${first} to ${last} are`
        if (byExpire) note(`${which} not in ${archive.archiveId}, as expire leaves it behind older backups`)
        else error(`${which} missing in ${archive.archiveId}: recovery from older backups ends before`)
      }
      return { archiveId: archive.archiveId, checked, valid: checked - faulty.length - gone.size, faulty, ranges, gaps }
    }),
  )
  for (const { archiveId, faulty } of archiveResults)
    for (const file of faulty)
      log.info({ file: file.repoName }, `${archiveId}: ${bytesToText(file.repoName)}: ${file.reason}`)
  for (const { faulty } of judged)
    for (const file of faulty)
      log.info({ file: file.repoName }, `${bytesToText(file.repoName)} (${bytesToText(file.name)}): ${file.reason}`)
  const bad = judged.some(({ status }) => status === 'invalid' || status === 'manifest missing')
  const badWal = archiveResults.some(({ faulty }) => faulty.length > 0)
  return {
    stanza,
    repoKey: place.key,
    ok: !bad && !badWal && !problems.some(({ level }) => level === 'error'),
    problems,
    archives: archiveResults,
    backups: judged,
    ...proved,
  }
}

async function inspectInfo(
  { place, stanza, signal }: VerifyRequest,
  error: (message: string) => void,
): Promise<{ archiveInfo?: ArchiveInfo; backupInfo?: BackupInfo }> {
  const seal = sealOfPlace(place)
  const [archive, backup] = await Promise.all([
    inspectPair(place.storage, archiveInfoName(stanza), seal, parseArchiveInfo, signal),
    inspectPair(place.storage, backupInfoName(stanza), seal, parseBackupInfo, signal),
  ])
  for (const fault of [...archive.faults, ...backup.faults]) error(fault)
  if (archive.value === undefined) error('archive.info is lost: archiving and recovery need it')
  if (backup.value === undefined) error('backup.info is lost: no backup can be restored without it')
  if (archive.value !== undefined && backup.value !== undefined && !isSameHistory(archive.value, backup.value)) {
    error('archive.info and backup.info do not list the same clusters: run stanza-upgrade again, or bring one back')
  }
  return {
    ...(archive.value === undefined ? {} : { archiveInfo: archive.value }),
    ...(backup.value === undefined ? {} : { backupInfo: backup.value }),
  }
}

/** Every label that is listed or has a directory, oldest first. */
async function inspectBackups(
  { place, stanza, signal }: VerifyRequest,
  info: BackupInfo,
  error: (message: string) => void,
  note: (message: string) => void,
): Promise<KnownBackup[]> {
  const { storage } = place
  const directories = await labelDirectories(storage, stanza, signal)
  const listed = new Map<string, BackupEntry>(info.backups.map((entry) => [entry.label, entry]))
  const newest = directories.at(-1)
  const known: KnownBackup[] = []
  const labels = [...new Set([...directories, ...listed.keys()])].sort(compareLabels)
  const pairs = await inParallel(labels, storage.parallel ?? 1, (label) =>
    inspectPair(storage, manifestName(stanza, label), sealOfManifests(info), parseComplete, signal),
  )
  for (const [index, label] of labels.entries()) {
    const pair = pairs[index]!
    const entry = listed.get(label)
    if (entry === undefined && pair.mainMissing) {
      const running = label === newest
      if (running) known.push({ label, inProgress: true })
      else note(`backup/${stanza}/${label} is what an interrupted backup left; the next backup or expire removes it`)
      continue
    }
    if (entry === undefined) note(`backup ${label} is not in backup.info; the next backup or expire lists it`)
    for (const fault of pair.faults) error(fault)
    const { value: manifest } = pair
    const usable = manifest !== undefined && !pair.mainMissing && manifest.db.historyId !== 0
    if (usable && manifest.label !== label) error(`the manifest in ${label} says it is of backup ${manifest.label}`)
    known.push({ label, inProgress: false, ...(usable && manifest.label === label ? { manifest } : {}) })
  }
  return known
}

/** An unfinished backup has no history id yet, and is not judged. */
function parseComplete(bytes: Buffer): Manifest {
  const manifest = parseManifest(bytes)
  if (manifest.db.historyId !== 0) checkManifest(manifest, manifest.label)
  return manifest
}

/** With --set: the chain of that backup, and its WAL. */
function wanted(
  { set }: VerifyRequest,
  backups: readonly KnownBackup[],
): { wantedLabels: (label: string) => boolean; wantedWal: (archiveId: string, directory: string) => boolean } {
  if (set === undefined) return { wantedLabels: () => true, wantedWal: () => true }
  const manifest = backups.find(({ label }) => label === set)?.manifest
  const chain = new Set([set, ...(manifest?.references ?? [])])
  const { archiveStart = '', archiveStop = '' } = manifest ?? {}
  const id = manifest === undefined ? '' : archiveIdOf({ id: manifest.db.historyId, version: manifest.db.version })
  return {
    wantedLabels: (label) => chain.has(label),
    wantedWal: (archiveId, directory) =>
      archiveId === id && directory >= archiveStart.slice(0, 16) && directory <= archiveStop.slice(0, 16),
  }
}

async function stillThere(
  { place, stanza, signal }: VerifyRequest,
  backups: readonly KnownBackup[],
): Promise<(label: string) => boolean> {
  const labels = new Set(await labelDirectories(place.storage, stanza, signal))
  const seal = sealOfPlace(place)
  const { value } = await inspectPair(place.storage, backupInfoName(stanza), seal, parseBackupInfo, signal)
  const listed = new Set(value?.backups.map(({ label }) => label))
  const before = new Set(backups.filter(({ manifest }) => manifest !== undefined).map(({ label }) => label))
  // Gone from list and directory while verify ran: expired. Gone from one of them: broken.
  return (label) => !before.has(label) || labels.has(label) || listed.has(label)
}

/** Was the segment removed with all that is older? Then expire did it while verify ran. */
async function expired({ place, stanza, signal }: VerifyRequest, archiveId: string, segment: string): Promise<boolean> {
  const path = archiveIdPath(stanza, archiveId)
  for await (const { name } of place.storage.list(`${path}/${segment.slice(0, 16)}`, { namesOnly: true, signal })) {
    if (name.slice(path.length + 18, path.length + 42) <= segment.slice(0, 24)) return false
  }
  return true
}
