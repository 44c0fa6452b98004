import type { Clock } from './clock.ts'
import type { LogFields, Logger } from './log.ts'

/** Interval of the warnings about an outage. */
export const OUTAGE_REPORT_MS = 60_000

/**
 * Several workers report the same outage. Of the warnings with the same field `outage`, one a minute stays a warning
 * and the others become debug; all other records are passed on unchanged.
 */
export function limitOutages(log: Logger, clock: Clock): Logger {
  const reportedMs = new Map<string, number>()
  return {
    ...log,
    warn: (...record: [string] | [LogFields, string]) => {
      const [first, message] = record
      if (typeof first === 'string') return log.warn(first)
      const { outage } = first
      if (typeof outage !== 'string') return log.warn(first, message!)
      const now = clock.nowMs()
      if (now - (reportedMs.get(outage) ?? -Infinity) < OUTAGE_REPORT_MS) return log.debug(first, message!)
      reportedMs.set(outage, now)
      log.warn(first, message!)
    },
  }
}
