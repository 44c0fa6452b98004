import type { RestorePlanReport } from '../../core/restore/plan-report.ts'
import { bytesToText } from '../../util/byte-string.ts'

/** docs/guide/restore-plan.md. Times are seconds since the epoch, sizes bytes. */
export function restorePlanJson(plan: RestorePlanReport) {
  const { stanza, repoKey, backup, why, policy, verdict, wal, files, fileSystems, settings, duration, problems } = plan
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
    },
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
    duration: duration === undefined ? null : { seconds: duration.seconds, backup: duration.label },
  }
}
