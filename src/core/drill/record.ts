import { isObject } from '../../util/is-object.ts'

/** `failed`: the backup is at fault. `error`: the drill could not run. */
export type DrillResult = 'passed' | 'failed' | 'error'

/** `warning`: worth to know, but no fault of the backup. */
export type CheckResult = 'passed' | 'failed' | 'skipped' | 'warning'

export interface DrillCheck {
  /** `databases`, `amcheck`, `sql`, `pages`. */
  readonly name: string
  readonly result: CheckResult
  /** What was checked, or why not; lines of at most 200 characters. */
  readonly detail?: string
  readonly durationMs: number
}

/** What one drill found. Times are milliseconds since the epoch. */
export interface DrillRecord {
  readonly startedMs: number
  /** Name of the host that ran it. */
  readonly host: string
  /** Version of pgts. */
  readonly pgts: string
  /** Version of the server that recovered: `15.20`. */
  readonly postgres?: string
  /** Label of the backup. */
  readonly label: string
  /** Kind of target: `immediate` is the end of the backup. */
  readonly type: string
  readonly target?: string
  readonly result: DrillResult
  /** Why it failed. */
  readonly problem?: { readonly code: number; readonly message: string }
  readonly durations: {
    /** From the begin of the drill until all files are restored. */
    readonly restoreMs?: number
    /** From then until the server reached its target and answered. */
    readonly recoveryMs?: number
    readonly checksMs?: number
    readonly totalMs: number
  }
  readonly restoredBytes?: number
  readonly restoredFiles?: number
  readonly replayedBytes?: number
  readonly replayLsn?: string
  /** Time of the last commit that was replayed; absent: none was. */
  readonly lastCommitMs?: number
  readonly checks: readonly DrillCheck[]
}

const VERSION = 1

export function serialiseDrill(record: DrillRecord): Buffer {
  return Buffer.from(`${JSON.stringify({ version: VERSION, ...record }, null, 1)}\n`)
}

/** Undefined if the text is no record, or one of a later version. */
export function parseDrill(text: string): DrillRecord | undefined {
  try {
    const { version, ...record } = JSON.parse(text) as { version?: unknown }
    return version === VERSION && isRecord(record) ? record : undefined
  } catch {
    return undefined
  }
}

function isRecord(value: object): value is DrillRecord {
  const { startedMs, host, pgts, label, type, result, durations, checks, problem } = value as Record<string, unknown>
  return (
    isCount(startedMs) &&
    [host, pgts, label, type].every((text) => typeof text === 'string') &&
    ['passed', 'failed', 'error'].includes(result as string) &&
    (problem === undefined ||
      (isObject(problem) && isCount(problem['code']) && typeof problem['message'] === 'string')) &&
    isObject(durations) &&
    isCount(durations['totalMs']) &&
    OPTIONAL_DURATIONS.every((name) => durations[name] === undefined || isCount(durations[name])) &&
    OPTIONAL_COUNTS.every((name) => isOptional((value as Record<string, unknown>)[name], 'number')) &&
    OPTIONAL_TEXTS.every((name) => isOptional((value as Record<string, unknown>)[name], 'string')) &&
    Array.isArray(checks) &&
    checks.every(isCheck)
  )
}

const OPTIONAL_DURATIONS = ['restoreMs', 'recoveryMs', 'checksMs']
const OPTIONAL_COUNTS = ['restoredBytes', 'restoredFiles', 'replayedBytes', 'lastCommitMs']
const OPTIONAL_TEXTS = ['postgres', 'target', 'replayLsn']
const CHECK_RESULTS = ['passed', 'failed', 'skipped', 'warning']

function isCheck(value: unknown): value is DrillCheck {
  if (!isObject(value)) return false
  const { name, result, detail, durationMs } = value
  return (
    typeof name === 'string' &&
    CHECK_RESULTS.includes(result as string) &&
    isOptional(detail, 'string') &&
    isCount(durationMs)
  )
}

function isCount(value: unknown): boolean {
  return typeof value === 'number' && Number.isFinite(value) && value >= 0
}

function isOptional(value: unknown, type: 'number' | 'string'): boolean {
  return value === undefined || (type === 'number' ? isCount(value) : typeof value === 'string')
}
