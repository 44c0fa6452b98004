import type { ExpectedDuration } from '../../core/restore/expected-duration.ts'
import type { FoundTarget, RestorePlanReport } from '../../core/restore/plan-report.ts'
import type { FoundStop } from '../../core/window/stop-target.ts'
import { serialiseJson } from '../../format/canonical-json.ts'
import { formatLsn } from '../../format/wal-segment.ts'
import { bytesToText } from '../../util/byte-string.ts'
import { microsText } from '../../util/local-time.ts'
import { windowJson } from './info-json.ts'

/** docs/guide/restore-plan.md. Times are seconds since the epoch, sizes bytes. */
export function restorePlanJson(plan: RestorePlanReport) {
  const { stanza, repoKey, backup, why, policy, verdict, found, wal, window, files, fileSystems, settings } = plan
  const { duration, problems } = plan
  const { label, type, sizeBytes, timestampStart, timestampStop, lsnStart, lsnStop } = backup
  return {
    stanza,
    possible: problems.every(({ exitCode }) => exitCode === undefined),
    problems: problems.map(({ exitCode, message, hints }) => ({ exitCode: exitCode ?? null, message, hints })),
    backup: {
      label,
      type,
      repo: repoKey,
      why,
      size: sizeBytes,
      timestamp: { start: timestampStart, stop: timestampStop },
      lsn: { start: lsnStart ?? null, stop: lsnStop ?? null },
    },
    target: {
      type: policy.type,
      value: policy.target === undefined ? null : bytesToText(policy.target),
      exclusive: policy.targetExclusive,
      action: policy.targetAction ?? 'pause',
      timeline: policy.targetTimeline === undefined ? null : bytesToText(policy.targetTimeline),
      verdict,
      found: found === undefined ? null : foundJson(found),
    },
    window: window === undefined ? null : (JSON.parse(serialiseJson(windowJson(window))) as unknown),
    wal:
      wal === undefined
        ? null
        : {
            first: wal.first,
            last: wal.last ?? null,
            segments: wal.segments,
            missing: wal.missing ?? null,
            gap: wal.gap,
            stored: wal.storedMs === 0 ? null : wal.storedMs / 1000,
            segmentSize: wal.segmentSize,
            timelines: wal.timelines,
          },
    files: { ...files, remove: files.remove.map(bytesToText) },
    fileSystems: fileSystems.map(({ path, neededBytes, freeBytes, compresses }) => ({
      path: bytesToText(path),
      needed: neededBytes,
      free: freeBytes,
      compresses,
    })),
    settings: {
      file: settings.file === undefined ? null : bytesToText(settings.file),
      values: Object.fromEntries([...settings.values].map(([key, value]) => [key, bytesToText(value)])),
      signalFile: settings.signalFile === undefined ? null : bytesToText(settings.signalFile),
    },
    duration: duration === undefined ? null : durationJson(duration),
  }
}

function durationJson({ seconds, label, drillMs }: ExpectedDuration) {
  return { seconds, backup: label, drill: drillMs === undefined ? null : Math.floor(drillMs / 1000) }
}

function foundJson({ stop, before, others, segmentsRead }: FoundTarget) {
  return {
    ...stopJson(stop),
    before: before === undefined ? null : stopJson(before),
    others: others.map(stopJson),
    segmentsRead,
  }
}

function stopJson({ kind, xid, name, time, lsn, segment }: FoundStop) {
  return {
    kind,
    xid: xid ?? null,
    name: name === undefined ? null : bytesToText(name),
    time: microsText(time),
    lsn: formatLsn(lsn),
    segment,
  }
}
