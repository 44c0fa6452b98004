import { existsSync } from 'node:fs'
import { archiveCommandLine, type Caller, programProblems } from './archive-program.ts'
import { bytesToText, decodeUtf8, textPath } from '../../../util/byte-string.ts'
import { formatSize } from '../../../util/format-size.ts'
import type { ArchivingFacts, QueueFacts, ServerArchiving, SpoolFacts } from './archiving-facts.ts'
import { repoId } from '../../../util/repo-id.ts'
import { exitCodeText } from '../../../util/error.ts'

/** The part of archiving that has a fault. */
export type Layer =
  | 'server'
  | 'archive_mode'
  | 'archive_library'
  | 'archive_command'
  | 'stopped'
  | 'dropped'
  | 'repository'
  | 'background'
  | 'spool'
  | 'queue'
  | 'lag'

export interface Finding {
  readonly layer: Layer
  /** The fact and the next step. */
  readonly text: string
}

/** The awaited segment; without one, every layer is examined. */
export interface Wanted {
  readonly segment?: string
  /** archive-timeout, or the age from which a waiting file is reported, ms. */
  readonly patienceMs?: number
}

/** A push that takes longer is reported. */
const SLOW_MS = 10_000

const DROPPED = /^dropped WAL file/

/**
 * Why WAL is not archived, the most likely cause first; empty: no fault is known.
 */
export function diagnose(facts: ArchivingFacts, wanted: Wanted = {}): Finding[] {
  const findings: Finding[] = []
  const { server, queue, spool, stopFile } = facts
  if (server !== undefined) findings.push(...settings(server, facts))
  if (stopFile !== undefined) {
    const stanza = stopFile.endsWith('/all.stop') ? '' : `--stanza=${facts.stanza} `
    findings.push({
      layer: 'stopped',
      text: `an operator has stopped archiving: ${stopFile} exists; when the maintenance is over, run 'pgts ${stanza}start'`,
    })
  }
  if (findings.some(({ layer }) => layer === 'archive_mode')) return findings
  if (server !== undefined) findings.push(...commandText(server, facts))
  if (spool !== undefined) findings.push(...dropped(spool, queue, wanted))
  if (server !== undefined) findings.push(...failures(server, facts))
  if (spool !== undefined) findings.push(...background(spool, queue, facts.nowMs))
  if (queue !== undefined) findings.push(...waiting(queue, facts, wanted))
  return findings
}

function settings({ mode, library, command }: ServerArchiving, caller: Caller): Finding[] {
  if (mode === 'off') {
    return [
      {
        layer: 'archive_mode',
        text: 'archive_mode is off, so PostgreSQL archives nothing: set archive_mode = on and restart the server (a reload is not enough)',
      },
    ]
  }
  if (library !== '') {
    return [
      {
        layer: 'archive_library',
        text: `archive_library is '${library}', so PostgreSQL never calls archive_command: make it empty and reload the server`,
      },
    ]
  }
  if (command !== '' && command !== '(disabled)') return []
  return [
    {
      layer: 'archive_command',
      text: `archive_command is not set: set ${archiveCommandLine(caller)} and reload the server`,
    },
  ]
}

/** Faults of an archive_command that are found without running it; each continues a sentence about it. */
export function commandProblems(
  { command: bytes, environment }: ServerArchiving,
  { stanza, pgPath }: ArchivingFacts,
): string[] {
  const command = decodeUtf8(bytes)
  if (command === '' || command === '(disabled)') return []
  const findings: string[] = []
  if (!/pgts|pgbackrest/.test(command)) findings.push('calls neither pgts nor pgbackrest')
  findings.push(...programProblems(command, pgPath, environment))
  const named = optionOf(command, 'stanza')
  if (named !== undefined && named !== stanza) findings.push(`names stanza ${named}, and this is ${stanza}`)
  const config = optionOf(command, 'config')
  if (config?.startsWith('/') === true && !existsSync(textPath(config)))
    findings.push(`names ${config}, which does not exist`)
  return findings
}

function commandText(server: ServerArchiving, facts: ArchivingFacts): Finding[] {
  const command = decodeUtf8(server.command)
  return commandProblems(server, facts).map((text) => ({
    layer: 'archive_command',
    text: `archive_command ${text}: correct it and reload the server; it is: ${command}`,
  }))
}

function optionOf(command: string, name: string): string | undefined {
  const match = new RegExp(`--${name}(?:=|\\s+)(?:'([^']*)'|"([^"]*)"|([^\\s'"]+))`).exec(command)
  return match?.[1] ?? match?.[2] ?? match?.[3]
}

function failures(server: ServerArchiving, { pgPath }: ArchivingFacts): Finding[] {
  const { lastFailed, lastArchived, failedCount } = server
  if (lastFailed === undefined || lastFailed.timeMs <= (lastArchived?.timeMs ?? 0)) return []
  const command = bytesToText(server.command)
    .replaceAll('%p', `pg_wal/${lastFailed.file}`)
    .replaceAll('%f', lastFailed.file)
  return [
    {
      layer: 'archive_command',
      text:
        `archive_command failed last for ${lastFailed.file} at ${timeText(lastFailed.timeMs)}, ${failedCount} failures so far; ` +
        `see the server's log, or run it by hand as the server's user: cd ${pgPath} && ${command}`,
    },
  ]
}

/** The queue was longer than archive-push-queue-max, so WAL was dropped. */
function dropped(spool: SpoolFacts, queue: QueueFacts | undefined, { segment }: Wanted): Finding[] {
  const next = 'point-in-time recovery cannot pass the gap: make archiving work again and take a new backup'
  const ours = spool.warnings.find((warning) => warning.file === segment && DROPPED.test(warning.message))
  if (ours !== undefined)
    return [{ layer: 'dropped', text: `archive-push-queue-max: ${firstLine(ours.message)}; ${next}` }]
  const event = spool.status?.dropped
  if (event === undefined) return []
  const later = spool.status?.lastSuccess
  if (segment === undefined ? later !== undefined && later.timeMs > event.timeMs : queue?.ready.has(segment) === true)
    return []
  return [
    {
      layer: 'dropped',
      text: `archive-push-queue-max dropped ${event.files} WAL file(s), the last, ${event.file}, at ${timeText(event.timeMs)}; ${next}`,
    },
  ]
}

function background(spool: SpoolFacts, queue: QueueFacts | undefined, nowMs: number): Finding[] {
  const findings: Finding[] = []
  const { status, pushPid } = spool
  // The status of a process that has ended is stale.
  const alive = pushPid !== undefined && status !== undefined
  for (const { key, trouble: outage } of alive ? status.repositories : []) {
    if (outage === undefined) continue
    findings.push({
      layer: 'repository',
      text: `storing in ${repoId(key)} has been failing for ${ago(nowMs - outage.sinceMs)}, ${outage.failures} attempts so far: ${firstLine(outage.message)}`,
    })
  }
  const oldest = alive ? status.inHand[0] : undefined
  if (oldest !== undefined && nowMs - oldest.sinceMs > SLOW_MS)
    findings.push({
      layer: 'repository',
      text:
        `the background process has been pushing ${oldest.file} for ${ago(nowMs - oldest.sinceMs)}: check the repositories and the network; ` +
        'after io-timeout the push fails with an error that names the repository that did not answer',
    })
  if (alive && status.state === 'blocked')
    findings.push({
      layer: 'background',
      text: `the background process (pid ${pushPid}) cannot work: ${status.why ?? ''}`,
    })
  const waits = (queue?.files ?? 0) > 0
  if (!alive && waits && status !== undefined) {
    const why = status.why === undefined ? '' : `: ${status.why}`
    findings.push({
      layer: 'background',
      text: `no background process of archive-push runs, the last one (pid ${status.pid}) last wrote its status at ${timeText(status.updatedMs)}${why}; the next archive_command starts one`,
    })
  }
  for (const { file, timeMs, code, message } of spool.errors.slice(0, 3)) {
    findings.push({
      layer: 'spool',
      text: `the background process reported at ${timeText(timeMs)} for ${file === 'global' ? 'all files' : file}: ${exitCodeText(code)} ${firstLine(message)}`,
    })
  }
  return findings
}

function waiting(queue: QueueFacts, facts: ArchivingFacts, { segment, patienceMs = 60_000 }: Wanted): Finding[] {
  const { server, nowMs } = facts
  const findings: Finding[] = []
  if (segment !== undefined && queue.done.has(segment)) {
    findings.push({
      layer: 'archive_command',
      text:
        `PostgreSQL has regarded ${segment} as archived since ${timeText(queue.done.get(segment) ?? 0)}: archive_command exited with 0 and stored it elsewhere or nowhere; ` +
        'check that it names this stanza and reads this configuration (user, HOME, --config), and whether archive-push-queue-max dropped the file',
    })
    return findings
  }
  const { first, files, sinceMs } = queue
  if (first === undefined) return findings
  const age = sinceMs === undefined ? 0 : nowMs - sinceMs
  if (segment !== undefined && first < segment && files > 1) {
    findings.push({
      layer: 'queue',
      text: `${files} files (${formatSize(queue.bytes)}) wait, and PostgreSQL archives them in order: ${first} is first and has been waiting for ${ago(age)}`,
    })
  } else if (age > patienceMs) {
    findings.push({
      layer: 'lag',
      text: `${files} file(s) (${formatSize(queue.bytes)}) wait; the oldest, ${first}, has been waiting for ${ago(age)}`,
    })
  }
  const failed = server?.lastFailed !== undefined && server.lastFailed.timeMs > (server.lastArchived?.timeMs ?? 0)
  if (server !== undefined && !failed && (segment !== undefined || age > patienceMs)) {
    findings.push({
      layer: 'lag',
      text:
        'pg_stat_archiver shows no failure, so archive_command is running, was not called, or could not be started: ' +
        "PostgreSQL does not count exit codes 126 and 127 (program not executable, not found) as failures; look for 'archive " +
        "command failed with exit code' in the server's log. If 'ps' shows the command as a child of the archiver, the " +
        'repository or the network is slow, or it waits for a lock; if that is normal, set a longer archive-timeout',
    })
  }
  return findings
}

/** `2026-01-02 03:04:05+00` */
export function timeText(timeMs: number): string {
  return `${new Date(timeMs).toISOString().slice(0, 19).replace('T', ' ')}+00`
}

/** `3 h 5 min`: the two largest units. */
export function ago(ms: number): string {
  const seconds = Math.max(0, Math.round(ms / 1000))
  const parts: string[] = []
  const units = [
    ['d', 86_400],
    ['h', 3600],
    ['min', 60],
    ['s', 1],
  ] as const
  let rest = seconds
  for (const [name, size] of units) {
    const count = Math.floor(rest / size)
    rest -= count * size
    if (count > 0 || (size === 1 && parts.length === 0)) parts.push(`${count} ${name}`)
  }
  return parts.slice(0, 2).join(' ')
}

function firstLine(text: string): string {
  return text.split('\n')[0] ?? ''
}
