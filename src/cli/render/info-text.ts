import {
  STATUS,
  STATUS_MESSAGES,
  type InfoBackup,
  type InfoDrill,
  type InfoLock,
  type InfoReport,
  type InfoStanza,
  type Progress,
} from '../../core/info/report.ts'
import type { RecoverableWindow } from '../../core/window/read.ts'
import { zonedDateTime } from '../../util/local-time.ts'
import { backupText } from './info-backup-text.ts'
import { windowText } from './info-window-text.ts'
import { duration } from './result.ts'
import { bytesToText, printableLines } from '../../util/byte-string.ts'
import { repoId } from '../../util/repo-id.ts'

/** The text form. Times are local. */
export function renderInfoText(report: InfoReport): string {
  if (report.stanzas.length === 0) return 'No stanzas exist in the repository.\n'
  return report.stanzas.map((stanza) => stanzaText(stanza, report)).join('\n')
}

function stanzaText(stanza: InfoStanza, { detail, set }: InfoReport): string {
  const full = detail === 'full'
  const { backup } = stanza.status.lock
  let text = `stanza: ${bytesToText(stanza.name)}\n    status: ${statusText(stanza, full)}\n`
  if (backup.repos !== undefined && backup.repos.length > 1) {
    for (const repo of backup.repos) text += `        ${repoId(repo.repoKey)} backup: ${percent(repo)} complete\n`
  }
  if (!full) return text
  text += repoStatusText(stanza)
  if (stanza.status.code !== STATUS.missingPath) text += cipherText(stanza)
  if (stanza.drill !== undefined) text += drillText(stanza.drill)
  return text + clustersText(stanza, set !== undefined)
}

/** `last drill: passed 2026-11-22 06:28:17+00, restore 1m05s, recovery 4.2s` */
function drillText({ record: { result, startedMs, durations } }: InfoDrill): string {
  const { restoreMs, recoveryMs } = durations
  const times = [
    ...(restoreMs === undefined ? [] : [`restore ${duration(restoreMs)}`]),
    ...(recoveryMs === undefined ? [] : [`recovery ${duration(recoveryMs)}`]),
  ]
  return `    last drill: ${[`${result} ${zonedDateTime(Math.floor(startedMs / 1000))}`, ...times].join(', ')}\n`
}

/** `ok`, `mixed`, or `error (message)`; running commands in the same parentheses. */
function statusText({ status }: InfoStanza, full: boolean): string {
  const isError = status.code !== STATUS.ok && !(full && status.code === STATUS.mixed)
  const word = status.code === STATUS.ok ? 'ok' : isError ? 'error' : 'mixed'
  const { backup, restore } = status.lock
  const notes = [
    ...(isError ? [status.message] : []),
    ...(backup.held ? [`backup/expire running${complete(backup)}`] : []),
    ...(restore.held ? [`restore running${complete(restore)}`] : []),
  ]
  return notes.length === 0 ? word : `${word} (${notes.join(', ')})`
}

function complete({ progress, hundredths }: InfoLock): string {
  if (progress !== undefined) return ` - ${percent(progress)} complete`
  return hundredths === undefined ? '' : ` - ${percent({ sizeBytes: 10_000, doneBytes: hundredths })} complete`
}

/** Two decimals, rounded half up: `55.55%`. */
function percent({ sizeBytes, doneBytes }: Progress): string {
  const hundredths = doneBytes >= sizeBytes ? 10_000 : Math.floor((doneBytes / sizeBytes) * 10_000 + 0.5)
  return `${(hundredths / 100).toFixed(2)}%`
}

/** The status of each repository, if the overall status does not include it. */
function repoStatusText({ status, repos }: InfoStanza): string {
  const { mixed, clusterMismatch, other } = STATUS
  if (status.code !== mixed && status.code !== clusterMismatch && status.code !== other) return ''
  const several = repos.length > 1
  const indent = ' '.repeat(several ? 15 : 12)
  return repos
    .map((repo) => {
      const name = several ? `        ${repoId(repo.key)}: ` : ''
      const { code, message } = repo.status
      if (code === STATUS.ok) return `${name}ok\n`
      if (code !== STATUS.other) return `${name}error (${message})\n`
      const lines = printableLines(message).split('\n').join(`\n${indent}`)
      return `${name}${several ? `error (${STATUS_MESSAGES[code]})\n` : ''}${indent}${lines}\n`
    })
    .join('')
}

function cipherText({ cipher, repos }: InfoStanza): string {
  const each = cipher === 'mixed' ? repos.map((repo) => `        ${repoId(repo.key)}: ${repo.cipher}\n`) : []
  return `    cipher: ${cipher}\n${each.join('')}`
}

/** A cluster in all repositories; its history ids may differ. */
interface Group {
  readonly version: string
  readonly current: boolean
  min: string | null
  max: string | null
  readonly windows: { readonly repoKey: number; readonly window: RecoverableWindow }[]
  readonly backups: InfoBackup[]
}

function clustersText(stanza: InfoStanza, single: boolean): string {
  const groups = groupsOf(stanza)
  const shown = single && stanza.backups.length > 0 ? groups.filter(({ backups }) => backups.length > 0) : groups
  const prior = shown.filter((group) => !group.current && (group.min !== null || group.backups.length > 0))
  const several = stanza.repos.length > 1
  return [...prior, ...shown.filter(({ current }) => current)].map((group) => groupText(group, several)).join('')
}

function groupsOf(stanza: InfoStanza): Group[] {
  const groups = new Map<string, Group>()
  const byRepo = new Map<string, Group>()
  for (const { repoKey, historyId, systemId, version } of stanza.clusters) {
    const key = `${systemId} ${version}`
    const current = stanza.current?.systemId === systemId && stanza.current.version === version
    const group = groups.get(key) ?? { version, current, min: null, max: null, windows: [], backups: [] }
    groups.set(key, group)
    byRepo.set(`${repoKey} ${historyId}`, group)
  }
  for (const { repoKey, historyId, min, max, window } of stanza.archives) {
    const group = byRepo.get(`${repoKey} ${historyId}`)
    if (window !== undefined) group?.windows.push({ repoKey, window })
    if (group === undefined || min === null || max === null) continue
    if (group.min === null || min < group.min) group.min = min
    if (group.max === null || max > group.max) group.max = max
  }
  for (const backup of stanza.backups) byRepo.get(`${backup.repoKey} ${backup.historyId}`)?.backups.push(backup)
  return [...groups.values()]
}

function groupText({ version, current, min, max, windows, backups }: Group, several: boolean): string {
  const archive = min === null ? 'none present' : `${min}/${max}`
  const head = `\n    db (${current ? 'current' : 'prior'})\n        wal archive min/max (${version}): ${archive}\n`
  const reachable = windows.map(({ repoKey, window }) => windowText(window, several ? repoId(repoKey) : undefined))
  return head + reachable.join('') + backups.map(backupText).join('')
}
