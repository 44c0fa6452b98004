import type { RestorePlanReport } from '../core/restore/plan-report.ts'
import type { CommandContext } from './context.ts'
import { localPgPath } from './restore/options.ts'
import { examineTarget, prepareRestore, reportPlan } from './restore/prepare.ts'
import { Problems } from './restore/problems.ts'

/** `restore --dry-run`: what a restore would do, and whether it would work. Changes nothing and takes no lock. */
export async function planRestore(ctx: CommandContext<'restore'>): Promise<RestorePlanReport> {
  const pgPath = localPgPath(ctx)
  const problems = new Problems(ctx)
  const existing = examineTarget(ctx, pgPath, problems)
  const prepared = await prepareRestore(ctx, { pgPath, existing }, undefined, problems)
  return reportPlan(ctx, prepared, problems)
}
