import { bytesToText } from '../../util/byte-string.ts'
import type { Logger } from '../../util/log.ts'
import type { Work } from '../../worker/executor.ts'
import { verifyArchive, type VerifiedArchive } from './archive.ts'
import { archiveResult } from './archive-result.ts'
import { assessBackups } from './assess.ts'
import { Findings, Problems } from './findings.ts'
import { backupsLeft, filesOf, inspectBackups, inspectInfo } from './inspect.ts'
import { backupPart } from './parts.ts'
import type { ArchiveResult, BackupResult, VerifyReport } from './report.ts'
import { assertSetExists, scopeOf, type KnownBackup, type VerifyRequest } from './request.ts'
import { provePlanned, type PlannedPart, type ProveRequest } from './run.ts'

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
  executor.expect(hashing(listedBytes))
  const archives = archiveInfo === undefined ? [] : await verifyArchive(request, archiveInfo, problems)
  const backups = backupInfo === undefined ? [] : await inspectBackups(request, backupInfo, problems)
  if (backupInfo !== undefined) assertSetExists(request, backups)
  const scope = scopeOf(request, backups)
  executor.expect(workOf(archives, backups))
  const plan = [...archives.flatMap((archive) => archive.plan(scope.hasWal)), ...backupParts(backups)]

  const findings = new Findings()
  const onRead: ProveRequest['onRead'] = async (key, pieces, { faulty, scanned }) => {
    findings.add(key, pieces, faulty)
    const times = archives.find(({ archiveId }) => key.startsWith(`archive/${archiveId}/`))?.times
    for (const segment of scanned) times?.add(segment)
    await times?.writeIfDue()
  }
  const proved = await provePlanned({ ...request, plan, nowMs: () => clock.nowMs(), onRead })
  for (const { archiveId, times } of archives) await times?.end(log, archiveId)

  // A backup that expire removed during the run is not a fault.
  const isLeft = await backupsLeft(request, backups)
  const backupResults = await assessBackups({
    backups: backups.filter(({ label }) => scope.hasBackup(label) && isLeft(label)),
    filesOf: async (label) => (backupInfo === undefined ? undefined : filesOf(request, backupInfo, label)),
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

/** A thread hashes this many bytes, or files of a bundle, while it decompresses and hashes one. */
const HASHED_BYTES = 8
const HASHED_FILES = 16

/** Work for the executor: WAL is decompressed, files of backups are hashed as they are stored. */
function workOf(archives: readonly VerifiedArchive[], backups: readonly KnownBackup[]): Work {
  let [bytes, files] = [0, 0]
  for (const { storedBytes } of archives) bytes += storedBytes
  for (const { pieces } of backups) {
    if (pieces === undefined) continue
    const { table, decoded } = pieces
    bytes += hashing(table.bytes).bytes
    files += table.length / HASHED_FILES + decoded.single.length + decoded.bundled.length
  }
  return { bytes, files }
}

function hashing(storedBytes: number): Work {
  return { bytes: storedBytes / HASHED_BYTES }
}

function backupParts(backups: readonly KnownBackup[]): PlannedPart[] {
  return backups.flatMap(({ label, manifest, pieces }) =>
    manifest === undefined || pieces === undefined
      ? []
      : [
          {
            key: `backup/${label}`,
            bytes: pieces.table.bytes,
            load: async () => backupPart(manifest, pieces),
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
