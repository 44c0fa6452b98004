import { hostname } from 'node:os'
import { EXIT_CODES, toPlainError, type ErrorCode } from '../../util/error.ts'
import { writerVersion } from '../../util/version.ts'

/** An error as hooks receive it. */
export interface HookError {
  /** Exit code. */
  readonly code: number
  readonly name: ErrorCode
  readonly message: string
  readonly hints: readonly string[]
}

/** The members of each event, besides those of every event. */
export interface HookEvents {
  'backup-before': { readonly type: string }
  'backup-after': {
    readonly ok: boolean
    readonly began: boolean
    readonly backup?: object
    readonly error?: HookError
    readonly durationMs: number
  }
  'drill-after': {
    readonly ok: boolean
    readonly drill?: object
    readonly error?: HookError
    readonly durationMs: number
  }
  doctor: { readonly state: 'error' | 'warning'; readonly findings: readonly object[] }
  'archive-failure': {
    readonly state: 'begun' | 'continues' | 'ended'
    readonly since: string
    readonly failures: number
    readonly file: string
    readonly error: HookError
  }
}

export type HookName = keyof HookEvents

interface Common {
  readonly hook: HookName
  readonly time: string
  readonly host: string
  readonly program: string
  readonly stanza: string
}

/** What a hook reads from standard input. */
export type HookEvent<N extends HookName = HookName> = Common & HookEvents[N]

type Meanings<R> = { readonly [M in keyof R]-?: string }

/** What the members mean; they are not renamed, and new ones can be added. */
export const commonMeanings: Meanings<Common> = {
  hook: 'Name of the hook.',
  time: 'Time of the event, in UTC.',
  host: 'Name of the host.',
  program: 'pgts and its version.',
  stanza: 'Name of the stanza.',
}

const ERROR = '`code` (the exit code), `name`, `message` and `hints`'

export const hookMeanings: { readonly [N in HookName]: Meanings<HookEvents[N]> } = {
  'backup-before': { type: 'The requested type: full, diff or incr.' },
  'backup-after': {
    ok: 'True if the run ends with 0.',
    began: 'False if it failed before it had the lock; `hook-backup-before` has not been called then.',
    backup: 'The report of [backup](#backup); absent if no backup was completed.',
    error: `Absent without an error: ${ERROR}.`,
    durationMs: 'Duration of the run.',
  },
  'drill-after': {
    ok: 'True if the backup passed.',
    drill: 'The report of [drill](#drill); absent if the drill could not run.',
    error: `Absent without an error: ${ERROR}.`,
    durationMs: 'Duration of the run.',
  },
  doctor: {
    state: 'The worst severity among the findings: error or warning.',
    findings: 'As in the report of [doctor](#doctor).',
  },
  'archive-failure': {
    state: 'begun, continues or ended.',
    since: 'Time of the first failure.',
    failures: 'Number of failed attempts since then.',
    file: 'The WAL file that was tried last.',
    error: `Of the last attempt: ${ERROR}.`,
  },
}

export function hookEvent<N extends HookName>(
  hook: N,
  { stanza, nowMs }: { readonly stanza: string; readonly nowMs: number },
  members: HookEvents[N],
): HookEvent<N> {
  return { hook, time: isoTime(nowMs), host: hostname(), program: writerVersion, stanza, ...members }
}

export function hookError(error: unknown): HookError {
  const { code, message, hints } = toPlainError(error)
  return { code: EXIT_CODES[code], name: code, message, hints }
}

export function isoTime(ms: number): string {
  return new Date(ms).toISOString()
}
