import { findSegment } from '../../core/archive/find.ts'
import { loadArchiveInfo } from '../../core/archive-info-store.ts'
import { RECOVERY_SETTINGS_SINCE } from '../../core/restore/recovery.ts'
import { checkReach, inFuture, type Reachability } from '../../core/restore/reachable.ts'
import type { RecoveryTarget } from '../../core/restore/recovery-target.ts'
import { realPath } from '../../core/restore/file-system.ts'
import { checkTargetTimeline } from '../../core/restore/timeline.ts'
import type { BackupEntry, BackupInfo } from '../../format/backup-info.ts'
import type { Manifest } from '../../format/manifest.ts'
import { archiveIdPath } from '../../format/repo-path.ts'
import { parseLsn, timelineOf, type WalSegment } from '../../format/wal-segment.ts'
import { listedOnce } from '../../storage/wrappers.ts'
import { bytesToText, textToBytes, type ByteString } from '../../util/byte-string.ts'
import { messageOf } from '../../util/error.ts'
import type { Repository } from '../../core/repository.ts'
import { windowOf, type RecoverableWindow } from '../../core/window/read.ts'
import type { FoundStop } from '../../core/window/stop-target.ts'
import { timeReach } from '../../core/window/time-reach.ts'
import type { CommandContext } from '../context.ts'
import { commitFacts } from './commits.ts'
import { recoveryPolicy } from './options.ts'
import { markHandled } from '../../util/mark-handled.ts'

type Context = CommandContext<'restore'>

/** The WAL range of a backup, from backup.info or from its manifest. */
interface Span {
  readonly label: string
  readonly online: boolean
  readonly archiveCopy: boolean
  /** Version of the cluster (`15`, `9.6`), and its history id in the stanza. */
  readonly version?: string
  readonly historyId: number
  readonly archiveStart?: string
  readonly archiveStop?: string
  readonly lsnStart?: string
  readonly lsnStop?: string
  readonly timestampStop: number
}

export function listedSpan(entry: BackupEntry, info: BackupInfo): Span {
  const { label, historyId, lsnStart, lsnStop, timestampStop } = entry
  return {
    ...{ label, historyId, lsnStart, lsnStop, timestampStop },
    online: entry.optionOnline,
    archiveCopy: entry.optionArchiveCopy,
    version: info.history.find(({ id }) => id === historyId)?.version,
    archiveStart: entry.archiveStart ?? undefined,
    archiveStop: entry.archiveStop ?? undefined,
  }
}

export function manifestSpan({ db, options, ...manifest }: Manifest): Span {
  const { label, archiveStart, archiveStop, lsnStart, lsnStop, timestampStop } = manifest
  const { online, archiveCopy } = options
  const { version, historyId } = db
  return { label, archiveStart, archiveStop, lsnStart, lsnStop, timestampStop, online, archiveCopy, version, historyId }
}

const SPAN_KEYS = [
  'label',
  'online',
  'archiveCopy',
  'version',
  'historyId',
  'archiveStart',
  'archiveStop',
  'lsnStart',
  'lsnStop',
  'timestampStop',
] as const

export function isSameSpan(one: Span, other: Span): boolean {
  return SPAN_KEYS.every((key) => one[key] === other[key])
}

export interface ArchiveQuestion {
  readonly span: Span
  /** backup.info of the repository with the backup. */
  readonly info: BackupInfo
  readonly target: RecoveryTarget | undefined
  /** The record at which recovery stops, if it was searched. */
  readonly found?: FoundStop
}

/** How far the WAL leads, and the points in time that can be reached with all backups. */
export interface ArchiveAnswer extends Reachability {
  readonly window?: RecoverableWindow
}

/** Starts the request early, for a store with network latency; the caller that awaits it receives the failure. */
export function askEarly(
  ctx: Context,
  repository: Repository,
  question: ArchiveQuestion,
): Promise<ArchiveAnswer> | undefined {
  if (repository.storage.parallel === undefined) return undefined
  const asked = checkArchive(ctx, repository, question)
  markHandled(asked)
  return asked
}

/**
 * Checks that archived WAL leads from the backup to the recovery target. If the timeline does not match, the restore is
 * refused; other problems are findings.
 */
export async function checkArchive(
  ctx: Context,
  repository: Repository,
  { span, info, target, found }: ArchiveQuestion,
): Promise<ArchiveAnswer> {
  const { label, online, version, historyId, archiveStart, lsnStart } = span
  const { signal, log, stanza, clock } = ctx
  const now = clock.nowMs() / 1000
  const policy = recoveryPolicy(ctx, online, target)
  // Without recovery, or with preserved settings, there is nothing to check.
  if (policy.type === 'none' || policy.type === 'preserve') return { verdict: 'reachable', findings: [] }
  if (!online || version === undefined || archiveStart === undefined || lsnStart === undefined) {
    const future = inFuture(target, now)
    return future === undefined ? UNKNOWN : { verdict: 'unreachable', findings: [future] }
  }
  // Only an encrypted history file requires archive.info: a backup can be restored without its archive as well.
  const archive =
    repository.cipher === undefined ? undefined : await loadArchiveInfo(repository, stanza, { signal, log })
  const archiveId = `${version}-${historyId}`
  const major = majorOf({ version })
  const { type, targetTimeline } = policy
  const storage = listedOnce(repository.storage, archiveIdPath(stanza, archiveId))
  const timelines = await checkTargetTimeline(storage, {
    ...{ stanza, archiveId, type, signal },
    cipherPass: archive?.cipherPass,
    ...{ major, targetTimeline },
    backup: { label, timeline: timelineOf(archiveStart), lsnStart: parseLsn(lsnStart) },
  })
  const { lsnStop, timestampStop, archiveCopy } = span
  if (lsnStop === undefined) return UNKNOWN
  const backups = info.backups.filter((entry) => entry.historyId === historyId)
  const backup = { label, lsnStart: parseLsn(lsnStart), lsnStop: parseLsn(lsnStop), timestampStop, archiveCopy }
  try {
    const timeline = timelines.at(-1)!.timeline
    const cipherPass = archive?.cipherPass
    // Commit times judge a target time, and a plan shows the window.
    const facts =
      ctx.options.dryRun || target?.seconds !== undefined
        ? await commitFacts(ctx, { ...repository, storage }, { archiveId, cipherPass, backups, timeline })
        : undefined
    const time = found === undefined ? timeOf(target, policy.targetExclusive) : undefined
    const reach = await checkReach(storage, {
      ...{ type, target, stanza, archiveId, timelines, backup, major, now, found, signal },
      positions: backups.flatMap(positionsOf),
      commits: facts === undefined || time === undefined ? undefined : timeReach(facts, backup, time),
      isElsewhere: (segment) => isElsewhere(ctx, repository, archiveId, segment),
    })
    return { ...reach, window: facts === undefined ? undefined : windowOf(archiveId, facts) }
  } catch (error) {
    signal.throwIfAborted()
    const message = `cannot check whether the archive reaches the target: ${messageOf(error)}`
    return { verdict: 'unknown', findings: [{ kind: 'unchecked', message, hints: [] }] }
  }
}

/** A target time, microseconds since 1970; undefined: another target. */
export function timeOf(target: RecoveryTarget | undefined, exclusive: boolean) {
  return target?.seconds === undefined ? undefined : { micros: Math.round(target.seconds * 1e6), exclusive }
}

const UNKNOWN: Reachability = { verdict: 'unknown', findings: [] }

export function positionsOf({ archiveStart, archiveStop, lsnStart, lsnStop }: BackupEntry) {
  return [
    ...(archiveStart === null || lsnStart === undefined ? [] : [{ segment: archiveStart, lsn: parseLsn(lsnStart) }]),
    // The backup stopped just before this LSN, which may be the beginning of the next segment.
    ...(archiveStop === null || lsnStop === undefined ? [] : [{ segment: archiveStop, lsn: parseLsn(lsnStop) - 1n }]),
  ]
}

/** The server reads all repositories, or only that of --repo. */
async function isElsewhere(
  ctx: Context,
  repository: Repository,
  archiveId: string,
  segment: WalSegment,
): Promise<boolean> {
  for (const { key, storage } of await ctx.repositories()) {
    if (key === repository.key) continue
    if ((await findSegment(storage, ctx.stanza, archiveId, segment, ctx.signal)).length > 0) return true
  }
  return false
}

/**
 * A copy of a cluster, on the same or on another host, archives to the stanza of the original unless its archive_mode
 * is off.
 */
export function warnOfArchiving(ctx: Context, original: Manifest, pgPath: ByteString): void {
  const { options, log, stanza } = ctx
  if (ctx.isSet('archive-mode') || options.type === 'standby') return
  const home = homeOf(ctx, original)
  if (home === undefined || realPath(home) === realPath(pgPath)) return
  // Settings are only written for a recovery; archive_mode is one of them from version 12 on.
  const isWritten =
    majorOf(original.db) >= RECOVERY_SETTINGS_SINCE && options.type !== 'none' && options.type !== 'preserve'
  const hints = isWritten
    ? ['add --archive-mode=off for a copy', 'add --archive-mode=preserve if it replaces the original']
    : ['set archive_mode = off in its configuration before you start it, unless it replaces the original']
  log.warn(
    [
      `the cluster in '${bytesToText(pgPath)}' is not the one in '${bytesToText(home)}', but keeps its archive_command: ` +
        `it will archive into stanza ${stanza}`,
      ...hints.map((hint) => `HINT: ${hint}`),
    ].join('\n'),
  )
}

/** The data directory of the original: that of the configuration, else that of the backup. */
export function homeOf(ctx: Context, original: Manifest): ByteString | undefined {
  const configured = ctx.configured('pg1-path')
  if (configured !== undefined) return textToBytes(configured)
  return original.targets.find(({ name }) => name === 'pg_data')?.path
}

/** 9 for `9.6`, 15 for `15`. */
export function majorOf({ version }: { readonly version: string }): number {
  return Number.parseInt(version, 10)
}
