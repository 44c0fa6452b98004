import { breakLease, describeLease, leaseOf, type FoundLease } from '../core/lease/lease.ts'
import { STALE_MS } from '../core/lease/life.ts'
import type { CommandContext } from './context.ts'
import { repoId } from '../util/repo-id.ts'

/** The lease of a stanza in one repository. */
export interface LeaseReport {
  readonly repoKey: number
  /** Absent: no process holds it. */
  readonly found?: FoundLease & { readonly stale: boolean; readonly description: string }
  /** Removed by this run. */
  readonly broken: boolean
}

/** Shows the process that holds the lease. --break removes the lease of a dead process, with --force any lease. */
export async function lease(ctx: CommandContext<'lease'>): Promise<readonly LeaseReport[]> {
  const { options, stanza, clock, log, signal } = ctx
  const reports: LeaseReport[] = []
  for (const { key, storage } of await ctx.repositories()) {
    const nowMs = clock.nowMs()
    const found = options.break
      ? await breakLease(storage, stanza, { force: options.force, nowMs, signal })
      : await leaseOf(storage, stanza, signal)
    if (found === undefined) {
      reports.push({ repoKey: key, broken: false })
      continue
    }
    const description = describeLease(found, nowMs)
    if (options.break) log.warn({ repo: key }, `${repoId(key)}: the lease was broken: ${description}`)
    const stale = nowMs - found.lastSignMs > STALE_MS
    reports.push({ repoKey: key, found: { ...found, stale, description }, broken: options.break })
  }
  return reports
}
