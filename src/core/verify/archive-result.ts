import { archiveIdPath } from '../../format/repo-path.ts'
import type { VerifiedArchive } from './archive.ts'
import { assessGaps } from './assess.ts'
import { type KnownBackup } from './request.ts'
import type { Findings, Problems } from './findings.ts'
import type { ArchiveResult } from './report.ts'
import type { VerifyRequest } from './request.ts'

/** The result of one archive id. A segment that expire removed during the run is not reported. */
export async function archiveResult(
  request: VerifyRequest,
  archive: VerifiedArchive,
  backups: readonly KnownBackup[],
  findings: Findings,
  problems: Problems,
): Promise<ArchiveResult> {
  const { archiveId, ranges } = archive
  const { checked, faulty: all } = findings.ofArchive(archiveId)
  const expired = new Set<string>()
  for (const { fault, name, repoName } of all)
    if (fault === 'missing' && (await isExpired(request, archiveId, name))) expired.add(repoName)
  const faulty = all.filter(({ repoName }) => !expired.has(repoName))
  const gaps = assessGaps(archive, backups)
  for (const { first, last, missing, byExpire } of gaps) {
    const which = missing === 1 ? `WAL segment ${first} is` : `${missing} WAL segments from ${first} to ${last} are`
    if (byExpire) problems.note(`${which} not in ${archiveId}, because expire removed the WAL between older backups`)
    else problems.error(`${which} missing in ${archiveId}: recovery from older backups ends before`)
  }
  return { archiveId, checked, valid: checked - faulty.length - expired.size, faulty, ranges, gaps }
}

/** Expire removes all older WAL together. So a segment is expired if no segment as old exists. */
async function isExpired(
  { repository, stanza, signal }: VerifyRequest,
  archiveId: string,
  segment: string,
): Promise<boolean> {
  const path = archiveIdPath(stanza, archiveId)
  for await (const { name } of repository.storage.list(`${path}/${segment.slice(0, 16)}`, {
    namesOnly: true,
    signal,
  })) {
    if (name.slice(path.length + 18, path.length + 42) <= segment.slice(0, 24)) return false
  }
  return true
}
