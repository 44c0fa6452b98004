import {
  countsOf,
  type ArchiveResult,
  type BackupResult,
  type FaultyFile,
  type VerifyReport,
} from '../../core/verify/report.ts'
import { bytesToText, decodeUtf8 } from '../../util/byte-string.ts'
import { formatSize } from '../../util/format-size.ts'
import { repoId } from '../../util/repo-id.ts'

/** `text` in pgBackRest's form, with further results; `json` is a form of pgts; `none` prints nothing. */
export function renderVerify(
  reports: readonly VerifyReport[],
  output: 'none' | 'text' | 'json',
  verbose: boolean,
): string {
  if (output === 'none') return ''
  if (output === 'json') return `${JSON.stringify(reports.map(asJson))}\n`
  return reports.map((report) => asText(report, verbose, reports.length > 1)).join('')
}

/** One log line per repository: what was read, and the number of errors. */
export function verifyCounts(report: VerifyReport): string {
  const { backups, backupFiles, walSegments, readBytes, errors } = countsOf(report)
  return (
    `${repoId(report.repoKey)}: verified backups = ${backups}, backup files = ${backupFiles}, WAL segments = ${walSegments}, ` +
    `bytes read = ${readBytes} (${formatSize(readBytes)}), errors = ${errors}`
  )
}

function asText(report: VerifyReport, verbose: boolean, several: boolean): string {
  const { stanza, repoKey, ok, problems, archives, backups, skipped } = report
  const lines: string[] = []
  if (ok && !verbose && problems.length === 0) return ''
  lines.push(`stanza: ${stanza}${several ? ` (${repoId(repoKey)})` : ''}`, `status: ${ok ? 'ok' : 'error'}`)
  for (const { level, message } of problems) lines.push(`  ${level}: ${message}`)
  for (const archive of archives) lines.push(...archiveLines(archive, verbose))
  for (const backup of backups) lines.push(...backupLines(backup, verbose))
  if (skipped.recent > 0) lines.push(`  verified recently, not read again: ${skipped.recent} parts`)
  if (skipped.late > 0) lines.push(`  not read because of --max-time: ${skipped.late} parts`)
  if (verbose) lines.push(`  read: ${formatSize(report.readBytes)}`)
  return `${lines.join('\n')}\n`
}

function archiveLines({ archiveId, checked, valid, faulty, ranges, gaps }: ArchiveResult, verbose: boolean): string[] {
  if (faulty.length === 0 && !verbose) return []
  const lines = [`  archiveId: ${archiveId}, total WAL checked: ${checked}, total valid WAL: ${valid}`]
  lines.push(...counters(faulty, verbose), ...fileLines(faulty))
  if (verbose) for (const { first, last } of ranges) lines.push(`    WAL: ${first} - ${last}`)
  if (verbose)
    for (const { first, last, byExpire } of gaps)
      lines.push(`    missing: ${first} - ${last}${byExpire ? ', removed by expire' : ''}`)
  return lines
}

function backupLines(backup: BackupResult, verbose: boolean): string[] {
  const { label, status, checked, valid, faulty, reasons, recoverableTo, stopsBefore, orphans, unproven } = backup
  const good = status === 'valid' || status === 'in-progress'
  if (good && !verbose) return []
  const lines = [
    `  backup: ${label}, status: ${status}, total files checked: ${checked}, total valid files: ${valid}`,
    ...counters(faulty, verbose && status !== 'in-progress'),
    ...fileLines(faulty),
    ...reasons.map((reason) => `    ${reason}`),
  ]
  if (stopsBefore !== undefined) lines.push(`    recovery from it ends before the corrupt WAL segment ${stopsBefore}`)
  else if (verbose && recoverableTo !== undefined) lines.push(`    can be recovered up to WAL segment ${recoverableTo}`)
  if (verbose && unproven > 0) lines.push(`    only the size was checked (no checksum): ${unproven}`)
  if (verbose) lines.push(...orphans.map((name) => `    not in its manifest: ${bytesToText(name)}`))
  return lines
}

/** pgBackRest's four counters: all, or those above zero. */
function counters(faulty: readonly FaultyFile[], all: boolean): string[] {
  const count = (fault: FaultyFile['fault']) => faulty.filter((file) => file.fault === fault).length
  const counts = (
    [
      ['missing', count('missing')],
      ['checksum invalid', count('checksum')],
      ['size invalid', count('size')],
      ['other', count('other')],
    ] as const
  ).filter(([, number]) => all || number > 0)
  return counts.length === 0 ? [] : [`    ${counts.map(([name, number]) => `${name}: ${number}`).join(', ')}`]
}

function fileLines(faulty: readonly FaultyFile[]): string[] {
  return faulty.map(({ name, repoName, reason }) => `      ${bytesToText(repoName)} (${bytesToText(name)}): ${reason}`)
}

function asJson({ stanza, repoKey, ok, problems, archives, backups, readBytes, skipped }: VerifyReport): unknown {
  const files = (faulty: readonly FaultyFile[]) =>
    faulty.map(({ name, repoName, fault, reason }) => ({
      name: decodeUtf8(name),
      file: decodeUtf8(repoName),
      fault,
      reason,
    }))
  return {
    stanza,
    repo: repoKey,
    ok,
    problem: problems.map(({ level, message }) => ({ level, message })),
    archive: archives.map(({ archiveId, checked, valid, faulty, ranges, gaps }) => ({
      id: archiveId,
      checked,
      valid,
      faulty: files(faulty),
      range: ranges,
      gap: gaps.map(({ byExpire, ...gap }) => ({ ...gap, 'by-expire': byExpire })),
    })),
    backup: backups.map(({ faulty, reasons, orphans, recoverableTo, stopsBefore, ...rest }) => ({
      ...rest,
      faulty: files(faulty),
      reason: reasons,
      orphan: orphans.map(decodeUtf8),
      'recoverable-to': recoverableTo,
      'stops-before': stopsBefore,
    })),
    'read-bytes': readBytes,
    skipped,
  }
}
