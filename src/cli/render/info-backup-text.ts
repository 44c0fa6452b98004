import type { InfoBackup, InfoDetails } from '../../core/info/report.ts'
import { formatSize } from '../../util/format-size.ts'
import { bytesToText } from '../../util/byte-string.ts'
import { zonedDateTime } from '../../util/local-time.ts'
import { repoId } from '../../util/repo-id.ts'

/** One backup in the text of `info`. With details: the backup of --set, with its databases, links and annotations. */
export function backupText(backup: InfoBackup): string {
  const { details, archiveStart, archiveStop, lsnStart, lsnStop, references } = backup
  const lines = [
    `timestamp start/stop: ${zonedDateTime(backup.timestampStart)} / ${zonedDateTime(backup.timestampStop)}`,
    `wal start/stop: ${archiveStart !== null && archiveStop !== null ? `${archiveStart} / ${archiveStop}` : 'n/a'}`,
  ]
  if (details !== undefined && lsnStart !== undefined && lsnStop !== undefined) {
    lines.push(`lsn start/stop: ${lsnStart} / ${lsnStop}`)
  }
  lines.push(
    `database size: ${formatSize(backup.sizeBytes)}, database backup size: ${formatSize(backup.sizeDeltaBytes)}`,
    `${repoId(backup.repoKey)}: ${setSizeText(backup)}backup size: ${formatSize(backup.repoSizeDeltaBytes)}`,
  )
  if (references !== null) {
    lines.push(
      details === undefined
        ? `backup reference total: ${referenceTotals(references)}`
        : `backup reference list: ${references.join(', ')}`,
    )
  }
  if (details !== undefined) lines.push(...detailLines(details))
  if (backup.error === true) {
    const files = details?.errorFiles ?? []
    lines.push(
      files.length > 0 ? `error list: ${files.map(bytesToText).join(', ')}` : 'error(s) detected during backup',
    )
  }
  if (details !== undefined && backup.annotations.size > 0) {
    lines.push(
      'annotation(s)',
      ...[...backup.annotations].map(([key, value]) => `    ${bytesToText(key)}: ${bytesToText(value)}`),
    )
  }
  if (details !== undefined && backup.pin !== undefined) {
    const { reason, until } = backup.pin
    const end = until === undefined ? '' : ` until ${zonedDateTime(until)}`
    lines.push(`pinned${end}${reason === undefined ? '' : `: ${bytesToText(reason)}`}`)
  }
  return [`\n        ${backup.type} backup: ${backup.label}`, ...lines.map((line) => `            ${line}`), ''].join(
    '\n',
  )
}

/** The stored size of a whole set has little meaning if only some blocks of its files are used. */
function setSizeText({ repoSizeBytes, repoSizeMapBytes }: InfoBackup): string {
  return repoSizeMapBytes === undefined ? `backup set size: ${formatSize(repoSizeBytes)}, ` : ''
}

function referenceTotals(references: readonly string[]): string {
  const ending = (letter: string) => references.filter((label) => label.endsWith(letter)).length
  const diffs = ending('D')
  const incrs = ending('I')
  return `${ending('F')} full${diffs > 0 ? `, ${diffs} diff` : ''}${incrs > 0 ? `, ${incrs} incr` : ''}`
}

function detailLines({ databases, links, tablespaces }: InfoDetails): string[] {
  const names = databases.map(({ name, oid }) => `${bytesToText(name)} (${oid})`)
  const lines = [`database list: ${names.length === 0 ? 'none' : names.join(', ')}`]
  if (links.length > 0) {
    lines.push(
      'symlinks:',
      ...links.map(({ name, destination }) => `    ${bytesToText(name)} => ${bytesToText(destination)}`),
    )
  }
  if (tablespaces.length > 0) {
    lines.push(
      'tablespaces:',
      ...tablespaces.map(
        ({ name, oid, destination }) => `    ${bytesToText(name)} (${oid}) => ${bytesToText(destination)}`,
      ),
    )
  }
  return lines
}
