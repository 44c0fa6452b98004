import { PgtsError } from '../util/error.ts'
import { nearest } from '../util/nearest.ts'
import { groupOf, isNegatable, isOptionName, isResettable, MAX_INDEX, optionNames, optionRow } from './option-table.ts'
import type { OptionName } from './option-table.ts'

/** A parsed option name: `no-repo2-symlink` is repo-symlink, key 2, negated. */
export interface WrittenName {
  readonly option: OptionName
  /** 1 to 256 for options of a group, 0 for all others. */
  readonly key: number
  readonly negated: boolean
  readonly reset: boolean
}

export interface NameRules {
  /** How the name is shown in messages, `--repo1-pat` for example. */
  readonly shown: string
  /** The command line takes unique prefixes of names. */
  readonly prefixes: boolean
}

/**
 * Parse a written name. undefined: unknown option. Throws option-invalid [031] for a name that no source
 * may have: an index that is missing, not allowed or out of range, a prefix of several options, and so on.
 */
export function parseOptionName(written: string, rules: NameRules): WrittenName | undefined {
  const invalid = (message: string, ...hints: string[]) => new PgtsError('option-invalid', message, { hints })
  if (written.length > 64) throw invalid(`${rules.shown.slice(0, 64)}... is longer than any option name (64)`)

  const negated = written.startsWith('no-')
  const reset = written.startsWith('reset-')
  const plain = negated ? written.slice(3) : reset ? written.slice(6) : written
  if (plain.startsWith('-')) throw invalid(`option name ${rules.shown} begins with too many dashes`)
  if (/^\d+-/.test(plain)) throw invalid(`option name ${rules.shown} begins with a number`)

  // The index precedes the first dash: repo2-path.
  const [, stem = plain, digits = '', rest = ''] = /^([^-\d]*)(\d*)(-.*)$/.exec(plain) ?? []
  const name = stem + rest
  const index = digits === '' ? undefined : Number(digits)
  if (index !== undefined && (index < 1 || index > MAX_INDEX)) {
    throw invalid(`the index in ${rules.shown} must be between 1 and ${MAX_INDEX}`)
  }

  const found = find(name, index, rules)
  if (found === undefined) return undefined
  const { option, formerly } = found
  const row = optionRow(option)
  if (negated && !isNegatable(row)) throw invalid(`${rules.shown}: ${option} has no negative form`)
  if (reset && !isResettable(row)) {
    throw invalid(`${rules.shown}: ${option} cannot be reset, it is never in a configuration file`)
  }

  const group = groupOf(option)
  if (group === undefined) {
    if (index !== undefined) throw invalid(`${rules.shown}: ${option} takes no index`, `write ${option}`)
    return { option, key: 0, negated, reset }
  }
  if (formerly) return { option, key: index ?? 1, negated, reset }
  if (index === undefined) {
    throw invalid(`${rules.shown} needs an index`, `write ${withIndex(option, 1)} for the first ${group}`)
  }
  return { option, key: index, negated, reset }
}

/** How an option is written: `repo-path`, 2 is `repo2-path`. */
export function withIndex(option: OptionName, key: number): string {
  const group = groupOf(option)
  return group === undefined ? option : `${group}${key}${option.slice(group.length)}`
}

/** The valid name closest to an unknown one, in the same form, or undefined. */
export function nearestName(written: string): string | undefined {
  const indexed = /^(no-|reset-)?(?:(repo|pg)(\d+)-)?(.*)$/.exec(written)
  const [, form = '', group, digits, rest = ''] = indexed ?? []
  if (group !== undefined) {
    const members = optionNames.filter((name) => groupOf(name) === group).map((name) => name.slice(group.length + 1))
    const member = nearest(rest, members)
    return member === undefined ? undefined : `${form}${group}${digits}-${member}`
  }
  const best = nearest(
    rest,
    optionNames.map((name) => withIndex(name, 1)),
  )
  return best === undefined ? undefined : form + best
}

function find(
  name: string,
  index: number | undefined,
  rules: NameRules,
): { option: OptionName; formerly: boolean } | undefined {
  // Some names of earlier releases are current names without the index: repo-path.
  if (isOptionName(name)) return { option: name, formerly: index === undefined && formerNames().has(name) }

  if (rules.prefixes && name !== '') {
    const hits = optionNames.filter((candidate) => candidate.startsWith(name))
    if (hits.length === 1 && hits[0] !== undefined) return { option: hits[0], formerly: false }
    if (hits.length > 1) {
      throw new PgtsError('option-invalid', `${rules.shown} is ambiguous: ${listed(hits)}`, {
        hints: ['write the full name'],
      })
    }
  }

  const former = formerNames()
  const old = former.get(index === undefined ? name : name.replace('-', '?-'))
  if (old !== undefined) return { option: old, formerly: true }
  const onlyWithout = index !== undefined ? former.get(name) : undefined
  if (onlyWithout !== undefined) {
    throw new PgtsError('option-invalid', `${rules.shown} is an old name that takes no index`, {
      hints: [`write ${withIndex(onlyWithout, index ?? 1)}`],
    })
  }
  const onlyWith = index === undefined ? former.get(name.replace('-', '?-')) : undefined
  if (onlyWith !== undefined) {
    throw new PgtsError('option-invalid', `${rules.shown} is an old name that needs an index`, {
      hints: [`write ${withIndex(onlyWith, 1)}`],
    })
  }
  return undefined
}

let formerCache: Map<string, OptionName> | undefined

/** Names of earlier releases: `db-path`, and `db?-path` for db1-path, db2-path and so on. */
export function formerNames(): ReadonlyMap<string, OptionName> {
  formerCache ??= new Map(
    optionNames.flatMap((option) => (optionRow(option).formerly ?? []).map((old) => [old, option] as const)),
  )
  return formerCache
}

/** `a, b or c`; a long list is truncated. */
export function listed(names: readonly string[], limit = 6): string {
  if (names.length > limit) return `${names.slice(0, limit).join(', ')}, ...`
  return names.length < 2 ? names.join('') : `${names.slice(0, -1).join(', ')} or ${names.at(-1)}`
}
