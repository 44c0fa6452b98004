import type { ArchiveStays, ArchiveVerdict, Explanation, LeftOver } from '../../core/expire/explain.ts'
import type { ExpireReason, KeepReason, Verdict } from '../../core/expire/retention.ts'
import type { ExpireReport } from '../../core/expire/run.ts'
import { repoId } from '../../util/repo-id.ts'

const WIDTH = 80

/** The report of `expire --explain`. Members of the JSON form are not renamed; new ones can be added. */
export function renderExpire(reports: readonly ExpireReport[], output: 'text' | 'json'): string {
  if (output === 'json') return `${JSON.stringify(reports.map(asJson))}\n`
  return reports.map((report) => `${asLines(report).join('\n')}\n`).join('\n')
}

function asJson({ repoKey, explanation, directories, archive, history }: ExpireReport) {
  const { calendar, backups, unlisted, archiveRetention, archiveStays, archives } = explanation
  return {
    repo: repoKey,
    calendar: calendar ?? null,
    backup: backups,
    unlisted,
    archive: { retention: archiveRetention ?? null, stays: archiveStays ?? null, id: archives },
    remove: { directory: directories, archive, history },
  }
}

function asLines({ repoKey, explanation, history }: ExpireReport): string[] {
  const { backups, unlisted, archives, archiveStays, archiveRetention } = explanation
  const lines = [`${repoId(repoKey)}: what expire would keep and remove`]
  lines.push(...calendarLines(explanation), '', 'backups')
  if (backups.length === 0) lines.push('    none')
  for (const verdict of backups) lines.push(...backupLines(verdict))
  if (unlisted.length > 0) lines.push('', 'directories that are not in backup.info')
  for (const leftOver of unlisted) {
    lines.push(`    ${leftOver.label}`, ...decision(leftOver.keep, leftOverText(leftOver)))
  }
  lines.push('', 'WAL')
  if (archiveStays !== undefined)
    lines.push(...wrapped(`keep all: ${archiveStaysText(archiveStays, archiveRetention)}`, 4))
  for (const archive of archives) lines.push(...archiveLines(archive))
  if (history.length > 0) {
    lines.push('', 'manifests of removed backups (backup.history)')
    lines.push(...history.flatMap((name) => wrapped(`remove ${name}: older than repo-retention-history`, 4)))
  }
  return lines
}

function calendarLines({ calendar }: Explanation): string[] {
  if (calendar === undefined) return []
  const { timeZone, daily, weekly, monthly, yearly } = calendar
  const parts = Object.entries({ daily, weekly, monthly, yearly }).flatMap(([name, count]) =>
    count === undefined ? [] : [`${name} ${count}`],
  )
  return wrapped(`calendar: ${parts.join(', ')}; days in time zone ${timeZone}`, 4)
}

function backupLines(verdict: Verdict): string[] {
  const texts = verdict.keep
    ? verdict.reasons.map(keepText)
    : [removalText(verdict.reason, verdict.because, verdict.label)]
  return [`    ${verdict.label}`, ...decision(verdict.keep, ...texts)]
}

function decision(keep: boolean, ...texts: readonly string[]): string[] {
  return wrapped(`${keep ? 'keep  ' : 'remove'} ${texts.join('; ')}`, 8, 7)
}

function keepText(reason: KeepReason): string {
  switch (reason.rule) {
    case 'pin': {
      const until = reason.until === undefined ? '' : ` until ${utc(reason.until)}`
      return `pinned${until}${reason.reason === undefined ? '' : `: ${oneLine(reason.reason)}`}`
    }
    case 'daily':
      return `newest of the day ${reason.period} (daily)`
    case 'weekly':
    case 'monthly':
    case 'yearly':
      return `newest of the period ${reason.period} (${reason.rule})`
    case 'full':
      return `full ${reason.rank} of the newest ${reason.of} (repo-retention-full)`
    case 'time':
      return reason.edge
        ? `newest full before the last ${reason.days} days, to recover to any later point in time`
        : `from the last ${reason.days} days (repo-retention-full)`
    case 'newest-full':
      return 'the newest full backup'
    case 'diff':
      return `${reason.rank} of the newest ${reason.of} fulls and diffs (repo-retention-diff)`
    case 'no-retention':
      return 'repo-retention-full is not set'
    case 'not-asked':
      return 'not the requested one'
    case 'set':
      return `depends on ${reason.label}, and a set is kept as a whole`
    case 'needed':
      return `needed by ${reason.by}`
  }
}

const REMOVAL_TEXTS: Record<ExpireReason, string> = {
  full: 'enough newer full backups are kept (repo-retention-full)',
  time: 'not needed to recover to the retained days (repo-retention-full)',
  diff: 'enough newer fulls and diffs are kept (repo-retention-diff)',
  calendar: 'not selected for any day, week, month or year',
  set: 'requested (--set)',
  oldest: 'the oldest full backup (--oldest)',
}

function removalText(reason: ExpireReason, because: string, label: string): string {
  return because === label ? REMOVAL_TEXTS[reason] : `depends on ${because}: ${REMOVAL_TEXTS[reason]}`
}

function leftOverText(leftOver: LeftOver): string {
  const last =
    leftOver.keep && leftOver.changedMs !== undefined ? ` (last change ${utc(leftOver.changedMs / 1000)})` : ''
  switch (leftOver.why) {
    case 'expired':
      return 'removed by retention'
    case 'leftover':
      return 'left by an interrupted backup or expire'
    case 'prior-gone':
      return 'unfinished, and its prior backup is removed'
    case 'too-old':
      return 'unfinished, and nothing was written to it for more than 7 days'
    case 'may-run':
      return `unfinished: in progress on another host, or to be resumed${last}`
    case 'runs-beside':
      return `unfinished, and written to after a newer backup had begun: it may be in progress on another host${last}`
    case 'unknown':
      return 'its manifest cannot be assessed; see the warnings of expire'
    case 'unreadable':
      return 'unfinished, and its manifest cannot be read'
  }
}

function archiveStaysText(stays: ArchiveStays, retention: Explanation['archiveRetention']): string {
  switch (stays) {
    case 'not-set':
      return 'repo-retention-archive is not set'
    case 'time-not-met':
      return 'no full backup is old enough'
    case 'too-few':
      return `fewer than ${retention?.count ?? 0} backups exist (type ${retention?.type ?? 'full'})`
    case 'unknown-backup':
      return 'it is unknown which WAL a backup needs that cannot be assessed'
    case 'runs-beside':
      return 'a backup that may be in progress on another host may need it'
  }
}

function archiveLines({ archiveId, why, keep, remove }: ArchiveVerdict): string[] {
  const lines = [`    ${archiveId}`]
  if (why === 'no-backup-left') return [...lines, ...decision(false, 'all: no backup of this cluster remains')]
  if (why === 'current-without-backup') return [...lines, ...decision(true, 'all: this cluster has no backup yet')]
  if (why === 'offline-backup') return [...lines, ...decision(true, 'all: the decisive backup was made offline')]
  // A range without an end includes every later range on its timeline.
  const open = keep.filter(({ stop }) => stop === undefined)
  const shown = keep.filter(({ start, stop, why: reason }) => {
    if (stop !== undefined || reason === 'asked') return true
    return !open.some((other) => other.start < start)
  })
  for (const { start, stop, why: reason, label } of shown) {
    if (stop === undefined) {
      const purpose = reason === 'asked' ? 'requested' : `to recover from ${label ?? ''} to any later point in time`
      lines.push(...decision(true, `${start} and all later: ${purpose}`))
    } else {
      const purpose = reason === 'asked' ? 'requested' : `to restore ${label ?? ''} to its end`
      lines.push(...decision(true, `${start} to ${stop}: ${purpose}`))
    }
  }
  for (const { start, stop } of remove) {
    lines.push(...decision(false, `${start === stop ? start : `${start} to ${stop}`}: no remaining backup needs it`))
  }
  return lines
}

/** `2027-01-31 22:00:00Z` */
function utc(seconds: number): string {
  return new Date(seconds * 1000)
    .toISOString()
    .replace('T', ' ')
    .replace(/\.\d+Z$/, 'Z')
}

function oneLine(text: string): string {
  return text.replaceAll(/\s*\n\s*/g, '; ')
}

/** Wrap words into lines of at most 80 columns; a longer word gets its own line. */
function wrapped(text: string, indent: number, hanging = 0): string[] {
  const out: string[] = []
  let line = ''
  for (const word of text.split(' ')) {
    const margin = ' '.repeat(out.length === 0 ? indent : indent + hanging)
    if (line === '') line = margin + word
    else if (line.length + 1 + word.length > WIDTH) {
      out.push(line)
      line = ' '.repeat(indent + hanging) + word
    } else line += ` ${word}`
  }
  return [...out, line]
}
