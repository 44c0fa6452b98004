import { messageOf, toPlainError } from '../../util/error.ts'
import type { Facts, Site } from './facts.ts'
import type { FactName, Finding, Found, Rule, Severity } from './rule.ts'

/**
 * How a fact is gathered. undefined: it does not apply to this site.
 *
 * @param signal aborted at the deadline
 */
export type Sources = { readonly [N in FactName]: (signal: AbortSignal) => Promise<Facts[N] | undefined> }

export interface Examination {
  readonly findings: readonly Finding[]
  /** Rules that could not be checked, because a fact could not be read. */
  readonly notChecked: readonly { readonly rule: string; readonly fact: FactName }[]
  /** Number of rules that were checked. */
  readonly checked: number
}

export interface ExamineOptions {
  readonly site: Site
  readonly rules: readonly Rule[]
  readonly sources: Sources
  /** For each fact. */
  readonly deadlineMs: number
  readonly signal: AbortSignal
}

type Gathered<N extends FactName = FactName> =
  | { readonly state: 'known'; readonly value: Facts[N] }
  | { readonly state: 'absent' }
  | { readonly state: 'failed'; readonly error: unknown }

/** Gathers the facts that the rules need, each once and all at the same time, and checks the rules in order. */
export async function examine(options: ExamineOptions): Promise<Examination> {
  const { rules, site } = options
  const names = [...new Set(rules.flatMap(({ needs }) => needs))]
  const gathered = new Map(await Promise.all(names.map(async (name) => [name, await gather(name, options)] as const)))
  options.signal.throwIfAborted()
  const findings = names.flatMap((name) => failureOf(name, gathered.get(name)!, site))
  const notChecked: { rule: string; fact: FactName }[] = []
  let checked = 0
  for (const rule of rules) {
    const failed = rule.needs.find((name) => gathered.get(name)?.state === 'failed')
    if (failed !== undefined) notChecked.push({ rule: rule.id, fact: failed })
    const facts = factsOf(rule, gathered)
    if (facts === undefined) continue
    checked++
    findings.push(...rule.check(facts, site).map((found) => reported(rule, found)))
  }
  return { findings: bySeverity(findings), notChecked, checked }
}

async function gather<N extends FactName>(
  name: N,
  { sources, signal, deadlineMs }: ExamineOptions,
): Promise<Gathered<N>> {
  const ended = new AbortController()
  const both = AbortSignal.any([signal, ended.signal])
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => {
      const error = new Error(`no answer within ${Math.round(deadlineMs / 1000)} s`)
      ended.abort(error)
      reject(error)
    }, deadlineMs)
  })
  try {
    const value = await Promise.race([sources[name](both), late])
    return value === undefined ? { state: 'absent' } : { state: 'known', value }
  } catch (error) {
    return { state: 'failed', error }
  } finally {
    clearTimeout(timer)
  }
}

/** The facts that a rule needs; undefined if one is not known. */
function factsOf({ needs }: Rule, gathered: ReadonlyMap<FactName, Gathered>): Facts | undefined {
  const values: [FactName, unknown][] = []
  for (const name of needs) {
    const fact = gathered.get(name)
    if (fact?.state !== 'known') return undefined
    values.push([name, fact.value])
  }
  // A rule sees only the facts that it needs, by its type.
  return Object.fromEntries(values) as unknown as Facts
}

function reported({ id, area, severity, why }: Rule, found: Found): Finding {
  const { repoKey, message, next } = found
  return {
    ...{ rule: id, area, severity: found.severity ?? severity },
    ...(repoKey === undefined ? {} : { repoKey }),
    ...{ message, why, next },
  }
}

const RANKS: readonly Severity[] = ['error', 'warning', 'notice']

/** The order of the rules within a severity is kept. */
function bySeverity(findings: readonly Finding[]): Finding[] {
  return RANKS.flatMap((rank) => findings.filter(({ severity }) => severity === rank))
}

/** The finding about a fact that cannot be read. */
function failureOf(name: FactName, gathered: Gathered, site: Site): Finding[] {
  if (gathered.state !== 'failed') return []
  const { area, why, next } = FAILURES[name]
  const { message, hints } = toPlainError(gathered.error)
  return [
    {
      ...{ rule: `${name}-unreadable`, area, severity: 'error' as const, why },
      message: messageOf(message),
      next: [...hints.map((hint) => `# ${hint}`), ...next(site)],
    },
  ]
}

interface Failure extends Pick<Finding, 'area' | 'why'> {
  next(site: Site): string[]
}

const UNSEEN = 'the rules about it cannot be checked, so this report is incomplete'

const FAILURES: Readonly<Record<FactName, Failure>> = {
  configuration: { area: 'configuration', why: UNSEEN, next: (site) => [site.pgts('check')] },
  cluster: {
    area: 'server',
    why: UNSEEN,
    next: ({ pgPath = '', onClusterHost }) => [onClusterHost(`ls -ld ${pgPath} ${pgPath}/global/pg_control`)],
  },
  server: {
    area: 'server',
    why: 'backups need the running server, and the rules about its settings cannot be checked',
    next: (site) => [site.psql('select 1')],
  },
  archiving: { area: 'archive', why: UNSEEN, next: (site) => [site.pgts('archive-status')] },
  host: { area: 'host', why: UNSEEN, next: ({ lockPath }) => [`ls -ld ${lockPath}`] },
  repositories: { area: 'repository', why: UNSEEN, next: (site) => [site.pgts('info')] },
  stores: { area: 'repository', why: UNSEEN, next: (site) => [site.pgts('info')] },
}
