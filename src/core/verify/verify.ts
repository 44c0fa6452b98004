import { manifestTotals } from '../../format/manifest-totals.ts'
import type { Manifest } from '../../format/manifest.ts'
import { bytesToText } from '../../util/byte-string.ts'
import type { Logger } from '../../util/log.ts'
import { verifyArchive, type VerifiedArchive } from './archive.ts'
import { archiveResult } from './archive-result.ts'
import { assessBackups } from './assess.ts'
import { type KnownBackup } from './request.ts'
import { backupPieces, type BackupPieces } from './backup-pieces.ts'
import { Findings, Problems } from './findings.ts'
import { backupsLeft, inspectBackups, inspectInfo } from './inspect.ts'
import { backupPart } from './parts.ts'
import type { ArchiveResult, BackupResult, VerifyReport } from './report.ts'
import { assertSetExists, scopeOf, type Scope, type VerifyRequest } from './request.ts'
import { provePlanned, type PlannedPart } from './run.ts'

/**
 * Verifies one repository of a stanza: every info file and manifest with its copy, every file of every backup, every
 * WAL segment; and reports the consequences of each fault. Writes verify's own record, and the commit times of WAL that
 * was archived without them.
 */
export async function verifyRepository(request: VerifyRequest): Promise<VerifyReport> {
  const { repository, stanza, executor, clock, log } = request
  const problems = new Problems()
  const { archiveInfo, backupInfo } = await inspectInfo(request, problems)
  // Workers start while the archive is listed and the manifests are read.
  const listedBytes = backupInfo?.backups.reduce((sum, { repoSizeDeltaBytes }) => sum + repoSizeDeltaBytes, 0) ?? 0
  executor.expect({ bytes: listedBytes })
  const archives = archiveInfo === undefined ? [] : await verifyArchive(request, archiveInfo, problems)
  const backups = backupInfo === undefined ? [] : await inspectBackups(request, backupInfo, problems)
  if (backupInfo !== undefined) assertSetExists(request, backups)
  const scope = scopeOf(request, backups)
  executor.expect({ bytes: listedBytes + archivedBytes(archives), files: storedFiles(backups) })
  const contents = new BackupContents(request)
  const plan = [...archives.flatMap((archive) => archive.plan(scope.hasWal)), ...backupParts(backups, scope, contents)]

  const findings = new Findings()
  const onPiece: Findings['add'] = (key, piece, proven) => {
    findings.add(key, piece, proven)
    if (proven.scanned === undefined) return
    archives.find(({ archiveId }) => key.startsWith(`archive/${archiveId}/`))?.times?.add(proven.scanned)
  }
  const afterJob = async () => {
    for (const { times } of archives) await times?.writeIfDue()
  }
  const proved = await provePlanned({ ...request, plan, nowMs: () => clock.nowMs(), onPiece, afterJob })
  for (const { archiveId, times } of archives) await times?.end(log, archiveId)

  // A backup that expire removed during the run is not a fault.
  const isLeft = await backupsLeft(request, backups)
  const backupResults = await assessBackups({
    backups: backups.filter(({ label }) => scope.hasBackup(label) && isLeft(label)),
    contentsOf: ({ manifest }) => contents.of(manifest),
    readOf: (label) => findings.ofBackup(label),
    archives,
    faultyWal: (archiveId) => findings.ofArchive(archiveId).faulty,
  })
  const archiveResults = await Promise.all(
    archives.map((archive) => archiveResult(request, archive, backups, findings, problems)),
  )
  logFaults(log, archiveResults, backupResults)
  const badBackup = backupResults.some(({ status }) => status === 'invalid' || status === 'manifest missing')
  const badWal = archiveResults.some(({ faulty }) => faulty.length > 0)
  return {
    stanza,
    repoKey: repository.key,
    ok: !badBackup && !badWal && !problems.hasErrors,
    problems: problems.all,
    archives: archiveResults,
    backups: backupResults,
    ...proved,
  }
}

function archivedBytes(archives: readonly VerifiedArchive[]): number {
  return archives.reduce((sum, { storedBytes }) => sum + storedBytes, 0)
}

/** Number of files that the backups store themselves. */
function storedFiles(backups: readonly KnownBackup[]): number {
  let stored = 0
  for (const { manifest } of backups)
    for (const { reference } of manifest?.files ?? []) if (reference === undefined) stored++
  return stored
}

/** What each backup stores. Listed at first use, and kept for the assessment. */
class BackupContents {
  readonly #request: VerifyRequest
  readonly #known = new Map<string, BackupPieces>()

  constructor(request: VerifyRequest) {
    this.#request = request
  }

  async of(manifest: Manifest): Promise<BackupPieces> {
    const { repository, stanza, signal } = this.#request
    const pieces = this.#known.get(manifest.label) ?? (await backupPieces(repository.storage, stanza, manifest, signal))
    this.#known.set(manifest.label, pieces)
    return pieces
  }
}

function backupParts(backups: readonly KnownBackup[], scope: Scope, contents: BackupContents): PlannedPart[] {
  return backups.flatMap(({ label, manifest }) =>
    manifest === undefined || !scope.hasBackup(label)
      ? []
      : [
          {
            key: `backup/${label}`,
            bytes: manifestTotals(manifest).repoSizeDeltaBytes,
            load: async () => backupPart(manifest, await contents.of(manifest)),
          },
        ],
  )
}

function logFaults(log: Logger, archives: readonly ArchiveResult[], backups: readonly BackupResult[]): void {
  for (const { archiveId, faulty } of archives)
    for (const { repoName, reason } of faulty)
      log.info({ file: repoName }, `${archiveId}: ${bytesToText(repoName)}: ${reason}`)
  for (const { faulty } of backups)
    for (const { name, repoName, reason } of faulty)
      log.info({ file: repoName }, `${bytesToText(repoName)} (${bytesToText(name)}): ${reason}`)
}
