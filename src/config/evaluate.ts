import { PgtsError } from '../util/error.ts'
import type { CommandName } from './command-table.ts'
import { listed, withIndex } from './option-name.ts'
import { groupOf, isBoolean, isOptionName, optionNames, rowFor } from './option-table.ts'
import type { Group, OptionName } from './option-table.ts'
import { PROGRAM, type CommandOverride, type Default, type OptionRow, type Range, type Typed } from './option-row.ts'
import { describe, settingId, type Setting, type Source } from './setting.ts'
import type { Dialect } from './sources/files.ts'
import { BadValue, parseValue } from './value.ts'

/** The resolved value of one option, by its written name (`repo1-path`). */
export interface ResolvedValue {
  readonly name: string
  readonly option: OptionName
  readonly key: number
  /** Parsed; undefined if the option has no value. */
  readonly value: unknown
  /** Values as they were typed; empty for a default. */
  readonly typed: readonly string[]
  readonly source: Source
  /** For messages: `command line`, `PGTS_REPO1_PATH`, `/etc/pgts/pgts.yaml line 4:7`, `default`. */
  readonly origin: string
  readonly negated: boolean
  readonly reset: boolean
}

export interface EvaluateInput {
  readonly command: CommandName
  readonly dialect: Dialect
  /** One for each option and key, from the strongest source. */
  readonly settings: readonly Setting[]
  readonly program: string
  /** Added to an error about a missing stanza, or a missing setting of its section. */
  readonly stanzaHints: readonly string[]
  readonly cores: number
  readonly warn: (message: string) => void
  /** Leave out missing and invalid values instead of throwing; for help, which must always work. */
  readonly lenient?: boolean
}

type Row = OptionRow & CommandOverride

/** Settings to values: dependencies, defaults, types, ranges, required options. Every error names the origin. */
export class Evaluation {
  readonly #input: EvaluateInput
  readonly #settings: ReadonlyMap<string, Setting>
  readonly #values = new Map<string, ResolvedValue>()
  /** Errors for missing required options; thrown only if there is no other error. */
  readonly missing: PgtsError[] = []

  constructor(input: EvaluateInput) {
    this.#input = input
    this.#settings = new Map(input.settings.map((setting) => [settingId(setting.option, setting.key), setting]))
  }

  /** Every option of the command, groups for each of their keys, in the order of names. */
  all(): Map<string, ResolvedValue> {
    const result = new Map<string, ResolvedValue>()
    // First, so that a missing --stanza is reported before the options that its section would set.
    this.value('stanza', 0)
    const keys = { repo: this.keys('repo'), pg: this.keys('pg') }
    for (const option of optionNames) {
      const group = groupOf(option)
      for (const key of group === undefined ? [0] : keys[group]) {
        const value = this.value(option, key)
        if (value !== undefined) result.set(value.name, value)
      }
    }
    return result
  }

  /** Keys of the configured repositories or clusters: those with an effective setting; at least one. */
  keys(group: Group): number[] {
    const valid = optionNames.some((option) => groupOf(option) === group && rowFor(option, this.#input.command))
    if (!valid) return []
    const keys = new Set<number>(group === 'pg' ? [1] : [])
    for (const setting of this.#settings.values()) {
      if (groupOf(setting.option) !== group || setting.reset) continue
      const row = rowFor(setting.option, this.#input.command)
      if (row !== undefined && this.#isEffective(row, setting.key)) keys.add(setting.key)
    }
    return keys.size === 0 ? [1] : [...keys].sort((a, b) => a - b)
  }

  /** undefined: the option is not valid for the command. */
  value(option: OptionName, key: number): ResolvedValue | undefined {
    const name = settingId(option, key)
    const known = this.#values.get(name)
    if (known !== undefined) return known
    const row = rowFor(option, this.#input.command)
    if (row === undefined) return undefined
    const value = this.#evaluate(option, key, row)
    this.#values.set(name, value)
    return value
  }

  #evaluate(option: OptionName, key: number, row: Row): ResolvedValue {
    const setting = this.#settings.get(settingId(option, key))
    const result = (value: unknown, from: Partial<ResolvedValue> = {}): ResolvedValue => {
      const base = { typed: [], source: 'default', origin: 'default', negated: false, reset: false } as const
      return { name: settingId(option, key), option, key, value, ...base, ...from }
    }
    const rules = { type: row.type, choices: row.choices, range: this.#range(row, key) }
    const defaultTo = (typed: Typed | undefined) =>
      typed === undefined ? undefined : (this.#special(option, typed) ?? parseValue([String(typed)], rules))

    if (!this.#isEffective(row, key)) {
      if (setting?.source === 'command line' && !setting.reset && this.#input.lenient !== true)
        throw this.#unmet(row, setting)
      if (setting !== undefined && !setting.reset) this.#warnUnencrypted(setting)
      return result(defaultTo(row.depend?.otherwise))
    }
    if (setting !== undefined && !setting.reset) {
      const { typed, source, origin, negated } = setting
      if (typed.length === 0) return result(undefined, { source, origin, negated })
      return result(this.#parse(setting, row, rules), { typed, source, origin, negated })
    }
    const value = defaultTo(this.#default(row, key))
    if (value === undefined && row.required === true) this.missing.push(this.#missing(option, key, row))
    if (setting === undefined) return result(value)
    return result(value, { source: setting.source, origin: setting.origin, reset: true })
  }

  #parse(setting: Setting, row: Row, rules: Parameters<typeof parseValue>[1]): unknown {
    const only = setting.typed[0] ?? ''
    try {
      if (row.type === 'hash') this.#warnRepeated(setting)
      return this.#special(setting.option, only) ?? parseValue(setting.typed, rules)
    } catch (cause) {
      if (!(cause instanceof BadValue)) throw cause
      if (this.#input.lenient === true) return undefined
      const shown = row.secret === true ? '' : `, not '${setting.typed.join(' ')}'`
      // The code of pgBackRest for a pair without `=`.
      const code = row.type === 'hash' ? 'option-invalid' : 'option-invalid-value'
      const hint = row.formerValues?.[only] ?? cause.hint
      throw new PgtsError(code, `${describe(setting)} ${cause.must}${shown}`, {
        hints: hint === undefined ? [] : [hint],
        cause,
      })
    }
  }

  /** Values that depend on this run: the program, and the number of cores. */
  #special(option: OptionName, typed: Typed): unknown {
    if (typed === PROGRAM) return this.#input.program
    if (option === 'process-max' && typed === 'auto') return Math.min(999, Math.max(1, this.#input.cores))
    return undefined
  }

  /** Warn about a passphrase without encryption. */
  #warnUnencrypted(setting: Setting): void {
    if (setting.option !== 'repo-cipher-pass' || !WARNS_OF_UNUSED_PASSPHRASE.has(this.#input.command)) return
    const type = withIndex('repo-cipher-type', setting.key)
    this.#input.warn(
      `${describe(setting)} has no effect, because ${type} is none: nothing is encrypted` +
        `\nHINT: set ${type}=aes-256-cbc for a new repository, or remove the passphrase`,
    )
  }

  #warnRepeated(setting: Setting): void {
    const seen = new Set<string>()
    for (const text of setting.typed) {
      const name = text.slice(0, Math.max(0, text.indexOf('=')))
      if (seen.has(name)) this.#input.warn(`${describe(setting)} names ${name} more than once; the last one is used`)
      seen.add(name)
    }
  }

  /** True if the dependency of the option is met. */
  #isEffective(row: Row, key: number): boolean {
    const governing = this.#governing(row, key)
    if (governing === undefined) return true
    if (governing.value === undefined) return false
    return row.depend?.values?.some((typed) => String(typed) === asTyped(governing.value)) ?? true
  }

  #governing(row: Row, key: number): ResolvedValue | undefined {
    const name = row.depend?.option
    if (name === undefined || !isOptionName(name)) return undefined
    return this.value(name, groupOf(name) === undefined ? 0 : key)
  }

  #default(row: Row, key: number): Typed | undefined {
    const given: Default | undefined = row.default
    if (given === undefined || typeof given !== 'object') return given
    if ('by' in given) return given.by[asTyped(this.#governing(row, key)?.value)]
    return given[this.#input.dialect]
  }

  #range(row: Row, key: number): Range | undefined {
    if (row.range === undefined || !('by' in row.range)) return row.range
    return row.range.by[asTyped(this.#governing(row, key)?.value)]
  }

  #unmet(row: Row, setting: Setting): PgtsError {
    const depend = row.depend
    const name = depend !== undefined && isOptionName(depend.option) ? withIndex(depend.option, setting.key || 1) : '?'
    const values = depend?.values?.map(String)
    const needed = values === undefined ? `with ${name}` : `with ${name}=${listed(values, 12)}`
    return new PgtsError('option-invalid', `${describe(setting)} is only valid ${needed}`)
  }

  #missing(option: OptionName, key: number, row: Row): PgtsError {
    const name = withIndex(option, key)
    const example = row.example === undefined ? '' : `, for example ${name}=${row.example}`
    const hints =
      option === 'stanza'
        ? ['name the cluster: --stanza=NAME', ...this.#input.stanzaHints]
        : row.section === 'stanza'
          ? [
              'check the name of the stanza, and that the configuration has a section for it',
              ...this.#input.stanzaHints,
            ]
          : row.secret === true
            ? [`set ${name} in the configuration file or the environment`]
            : [`set ${row.section === 'command-line' ? '--' : ''}${name}${isBoolean(row) ? '' : '=...'}${example}`]
    return new PgtsError('option-required', `${this.#input.command} needs ${name}`, { hints })
  }
}

/** Commands that warn: those run by hand. archive-push would repeat the warning for every segment. */
const WARNS_OF_UNUSED_PASSPHRASE: ReadonlySet<CommandName> = new Set(['stanza-create', 'check', 'backup'])

/** A value as written in a table row. */
export function asTyped(value: unknown): string {
  return value === true ? 'y' : value === false ? 'n' : String(value)
}
