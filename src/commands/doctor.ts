import { statSync } from 'node:fs'
import { examine, type Examination } from '../core/doctor/examine.ts'
import type { Finding, Severity } from '../core/doctor/rule.ts'
import { doctorRules } from '../core/doctor/rules.ts'
import { textPath } from '../util/byte-string.ts'
import { PgtsError } from '../util/error.ts'
import type { CommandContext, LauncherContext } from './context.ts'
import { describeSite } from './doctor/site.ts'
import { openSources } from './doctor/sources.ts'
import { asOwner, ownerOf, type Owner } from './init/owner.ts'
import { callHook } from './shared/call-hook.ts'

export interface DoctorReport extends Examination {
  readonly stanza: string
  readonly timeMs: number
  /** The worst severity among the findings. */
  readonly state: Severity | 'ok'
}

/** For each fact: a store that does not answer must not delay a report for long. */
const DEADLINE_MS = 30_000

/** Examines one stanza: configuration, server, archive, repositories. Changes nothing. */
export async function doctor(ctx: CommandContext<'doctor'>, launcher: LauncherContext): Promise<DoctorReport> {
  const { clock, signal, stanza, options } = ctx
  if (stanza === '') {
    throw new PgtsError('config', 'no stanzas found to examine', {
      hints: ['set up the first one: pgts init', ...ctx.stanzaHints],
    })
  }
  const owner = ownerOfCluster(options.pg[0])
  const site = describeSite(ctx, owner)
  const examination = await asOwnerIfKnown(owner, async (env) => {
    await using sources = openSources({ ...ctx, env }, { site, owner, launcher })
    return await examine({ site, rules: doctorRules, sources: sources.all, deadlineMs: DEADLINE_MS, signal })
  })
  const state = examination.findings[0]?.severity ?? 'ok'
  if (state === 'error' || state === 'warning') await callDoctorHook(ctx, owner, state, examination.findings)
  return { stanza, timeMs: clock.nowMs(), state, ...examination }

  function asOwnerIfKnown<T>(known: Owner | undefined, work: (env: typeof ctx.env) => Promise<T>): Promise<T> {
    return known === undefined ? work(ctx.env) : asOwner(known, (home) => work({ ...ctx.env, HOME: home }))
  }
}

async function callDoctorHook(
  ctx: CommandContext<'doctor'>,
  owner: Owner | undefined,
  state: 'error' | 'warning',
  findings: readonly Finding[],
): Promise<void> {
  const { hookDoctor } = ctx.options
  // The configuration can belong to the owner of the cluster, who must not gain the rights of root by it.
  if (hookDoctor !== undefined && process.geteuid?.() === 0 && owner !== undefined && owner.uid !== 0) {
    ctx.log.warn(`hook-doctor is not run as root; run doctor as ${owner.name}`)
    return
  }
  await callHook(ctx, 'doctor', hookDoctor, { state, findings })
}

/** undefined: there is no cluster here, or its directory cannot be reached. */
function ownerOfCluster(pg: CommandContext<'doctor'>['options']['pg'][number] | undefined): Owner | undefined {
  if (pg?.path === undefined || pg.host !== undefined) return undefined
  try {
    return ownerOf(statSync(textPath(pg.path)))
  } catch {
    return undefined
  }
}
