import type { Facts, Site } from './facts.ts'

/** `error`: data is at risk, or something does not work. `warning`: it will not, unless the operator acts. */
export type Severity = 'error' | 'warning' | 'notice'

export const AREAS = ['configuration', 'server', 'archive', 'repository', 'backup', 'security', 'host'] as const
export type Area = (typeof AREAS)[number]

/** What a rule found. */
export interface Found {
  /** The fact, with names and numbers: one sentence without a full stop. */
  readonly message: string
  /** Commands that can be pasted into a shell, in order; other steps are comments (`# restart the server`). */
  readonly next: readonly string[]
  /** Default: the severity of the rule. */
  readonly severity?: Severity
  /** The repository, if it is about one. */
  readonly repoKey?: number
}

/** A finding as it is reported. */
export interface Finding {
  readonly rule: string
  readonly area: Area
  readonly severity: Severity
  readonly repoKey?: number
  readonly message: string
  readonly why: string
  readonly next: readonly string[]
}

export type FactName = keyof Facts

/** One rule: a pure function of the facts that it needs. */
export interface Rule<N extends FactName = FactName> {
  /** Stable, for monitoring: `archive-mode`. */
  readonly id: string
  readonly area: Area
  readonly severity: Severity
  /** When it reports something, for the reference: continues "reports that". */
  readonly reports: string
  /** The consequence if nothing is done: one sentence. */
  readonly why: string
  readonly needs: readonly N[]
  check(facts: Pick<Facts, N>, site: Site): readonly Found[]
}

export function defineRule<const N extends FactName>(rule: Rule<N>): Rule<N> {
  return rule
}
