import { readFileSync } from 'node:fs'
import { hostname } from 'node:os'
import type { DrillRecord } from '../core/drill/record.ts'
import { claimScratch } from '../core/drill/scratch.ts'
import { splitStatements, type SqlStatement } from '../core/drill/statements.ts'
import { saveDrill } from '../core/drill/store.ts'
import { textPath } from '../util/byte-string.ts'
import { EXIT_CODES, isPgtsError, messageOf, PgtsError } from '../util/error.ts'
import { pgtsVersion } from '../util/version.ts'
import type { CommandContext } from './context.ts'
import { rehearse, type DrillFacts, type Rehearsal } from './drill/rehearse.ts'
import { restoringContext, selectForDrill } from './drill/restoring.ts'
import type { Selected } from './restore/choose.ts'
import { callHook } from './shared/call-hook.ts'
import { withHookAfter } from './shared/hook-after.ts'

type Context = CommandContext<'drill'>

export interface DrillReport extends DrillRecord {
  readonly stanza: string
  readonly repoKey: number
  /** Data directory of the restored cluster, if it was kept. */
  readonly kept?: string
}

/**
 * Prove that a backup restores: restore it beside production, let a server recover it, check it, remove it, and record the result.
 * The report of a backup that is at fault is returned; everything else that goes wrong is an error.
 */
export function drill(ctx: Context): Promise<DrillReport> {
  return withHookAfter(
    ctx,
    () => restoreAndCheck(ctx),
    ({ report, error, durationMs }) => {
      const members = { ok: report?.result === 'passed', drill: report, error, durationMs }
      return callHook(ctx, 'drill-after', ctx.options.hookDrillAfter, members)
    },
  )
}

async function restoreAndCheck(ctx: Context): Promise<DrillReport> {
  const { options, stanza, clock, log } = ctx
  const startedMs = clock.nowMs()
  const statements = (options.sql ?? []).flatMap(readStatements)
  await using scratch = await claimScratch({
    directory: `${options.drillPath.replace(/(.)\/+$/, '$1')}/${stanza}`,
    foreign: foreignPlaces(ctx),
    stanza,
    startedMs,
    log,
  })
  const restoring = restoringContext(ctx, scratch)
  const selected = await selectForDrill(ctx, restoring)
  const facts: DrillFacts = { checks: [], durations: {} }
  const failure = await attempt({ ctx, restoring, selected, scratch, statements, startedMs, facts })

  const record = recordOf(ctx, { selected, facts, startedMs, failure })
  await save(ctx, selected, record)
  if (record.result === 'error') throw failure
  if (options.keep) scratch.keep()
  const { label, result } = record
  log.info(`drill of backup ${label}: ${result}`)
  return { stanza, repoKey: selected.repository.key, ...record, ...(options.keep ? { kept: scratch.data } : {}) }
}

/** @returns the error of the drill, if it had one; an interrupted one is not recorded */
async function attempt(rehearsal: Rehearsal): Promise<PgtsError | undefined> {
  try {
    await rehearse(rehearsal)
    return undefined
  } catch (error) {
    rehearsal.ctx.signal.throwIfAborted()
    if (!isPgtsError(error)) throw error
    return error
  }
}

interface Outcome {
  readonly selected: Selected
  readonly facts: DrillFacts
  readonly startedMs: number
  readonly failure: PgtsError | undefined
}

function recordOf({ options, clock }: Context, { selected, facts, startedMs, failure }: Outcome): DrillRecord {
  const isFault = failure === undefined ? facts.checks.some(({ result }) => result === 'failed') : facts.isBackupAtFault
  return {
    startedMs,
    host: hostname(),
    pgts: pgtsVersion,
    postgres: facts.postgres,
    label: selected.entry.label,
    type: options.type,
    target: options.target,
    result: isFault === true ? 'failed' : failure === undefined ? 'passed' : 'error',
    problem: failure === undefined ? undefined : { code: EXIT_CODES[failure.code], message: failure.message },
    durations: { ...facts.durations, totalMs: clock.nowMs() - startedMs },
    restoredBytes: facts.restoredBytes,
    restoredFiles: facts.restoredFiles,
    replayedBytes: facts.replayedBytes,
    replayLsn: facts.replayLsn,
    lastCommitMs: facts.lastCommitMs,
    checks: facts.checks,
  }
}

/** The result does not depend on the record: credentials that only read cannot write it. */
async function save({ log, stanza, signal }: Context, { repository }: Selected, record: DrillRecord): Promise<void> {
  try {
    await saveDrill(repository, stanza, record, signal)
  } catch (error) {
    signal.throwIfAborted()
    log.warn(`the drill is not recorded in ${repository.display}: ${messageOf(error)}`)
  }
}

/** Directories of this host in which, and around which, nothing is restored. */
function foreignPlaces({ options }: Context): string[] {
  const repositories = options.repo.filter(({ type }) => type === 'posix' || type === 'cifs')
  return [...options.pg, ...repositories].flatMap(({ host, path }) =>
    host === undefined && path !== undefined ? [path] : [],
  )
}

function readStatements(file: string): readonly SqlStatement[] {
  let text: string
  try {
    text = readFileSync(textPath(file), 'utf8')
  } catch (cause) {
    throw new PgtsError('file-open', `cannot read '${file}' (from --sql): ${messageOf(cause)}`, { cause })
  }
  const statements = splitStatements(text)
  if ('invalidLine' in statements) {
    throw new PgtsError(
      'option-invalid-value',
      `'${file}' (from --sql) has an unknown command in line ${statements.invalidLine}`,
      {
        hints: ['only SQL and \\c DATABASE are allowed'],
      },
    )
  }
  if (statements.length > 0) return statements
  throw new PgtsError('option-invalid-value', `'${file}' (from --sql) has no statements`)
}

/** The error of a backup that did not pass, for a run without a report. */
export function drillFailure({ label, checks, problem }: DrillReport): PgtsError {
  const failed = checks.filter(({ result }) => result === 'failed')
  const reasons = [
    ...(problem === undefined ? [] : [problem.message]),
    ...failed.map(({ name, detail }) => `${name}: ${detail ?? 'failed'}`),
  ]
  return new PgtsError('db-invalid', [`backup ${label} did not pass the drill`, ...reasons].join('\n'), {
    hints: ['take a new backup, and run verify to find which backups are at fault'],
  })
}
