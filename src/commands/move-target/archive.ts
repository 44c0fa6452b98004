import { findSegment } from '../../core/archive/find.ts'
import { loadArchiveInfo } from '../../core/archive-info-store.ts'
import type { ReplayPosition } from '../../core/restore/move-target.ts'
import { checkReach, type Finding } from '../../core/restore/reachable.ts'
import type { RecoveryPolicy } from '../../core/restore/recovery.ts'
import type { RecoveryTarget } from '../../core/restore/recovery-target.ts'
import { checkTargetTimeline } from '../../core/restore/timeline.ts'
import { archiveIdOf, historyMatching } from '../../format/archive-info.ts'
import type { ControlFile } from '../../postgres/control-file.ts'
import { isPgtsError, messageOf, PgtsError } from '../../util/error.ts'
import type { CommandContext } from '../context.ts'

export interface MovedTarget {
  readonly target: RecoveryTarget | undefined
  readonly policy: RecoveryPolicy
  readonly control: ControlFile
  readonly position: ReplayPosition
  /** Major version of PostgreSQL. */
  readonly major: number
}

/**
 * Refuses [075] a target that the archive does not reach, as restore does: PostgreSQL 13 and newer would replay all WAL and
 * then not start.
 */
export async function checkMovedTarget(ctx: CommandContext<'move-target'>, moved: MovedTarget): Promise<void> {
  const { log, options, signal } = ctx
  if (moved.target === undefined) return
  try {
    for (const finding of await findingsOf(ctx, moved)) {
      const { kind, message, hints } = finding
      if (kind === 'target' && options.restoreCheck) throw refusal(finding)
      if (kind !== 'backup-wal' && kind !== 'backup-wal-end')
        log.warn([message, ...hints.map((hint) => `HINT: ${hint}`)].join('\n'))
    }
  } catch (error) {
    signal.throwIfAborted()
    if (isPgtsError(error, 'backup-set-invalid') || isPgtsError(error, 'db-mismatch')) throw error
    log.warn(`cannot check whether the archive reaches the target: ${messageOf(error)}`)
  }
}

async function findingsOf(
  ctx: CommandContext<'move-target'>,
  { target, policy, control, position, major }: MovedTarget,
): Promise<readonly Finding[]> {
  const { clock, log, signal, stanza } = ctx
  const repositories = await ctx.repositories()
  const [repository, ...others] = repositories
  if (repository === undefined) return []
  const info = await loadArchiveInfo(repository, stanza, { log, signal })
  const history = historyMatching(info, control.version, control.systemId)[0]
  if (history === undefined) return []
  const archiveId = archiveIdOf(history)
  const { type, targetTimeline } = policy
  // Recovery begins again at its last restart point.
  const lsn = position.lsn ?? control.redoLsn
  const backup = { label: 'of this cluster', timeline: control.timeline, lsnStart: lsn }
  const { storage } = repository
  const asked = { stanza, archiveId, type, signal }
  const { cipherPass } = info
  const timelines = await checkTargetTimeline(storage, { ...asked, cipherPass, major, targetTimeline, backup })
  const { findings } = await checkReach(storage, {
    ...asked,
    target,
    timelines,
    backup: { label: backup.label, lsnStart: lsn, lsnStop: lsn, timestampStop: 0, archiveCopy: false },
    positions: [],
    segmentSize: control.walSegmentSize,
    major,
    now: clock.nowMs() / 1000,
    isElsewhere: async (segment) => {
      for (const other of others)
        if ((await findSegment(other.storage, stanza, archiveId, segment, signal)).length > 0) return true
      return false
    },
  })
  return findings
}

function refusal({ message, hints }: Finding): PgtsError {
  return new PgtsError('backup-set-invalid', message, {
    hints: [...hints, 'use --no-restore-check to move the target regardless'],
  })
}
