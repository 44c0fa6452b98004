import type { OptionType, Range, Typed } from './option-row.ts'

/** An invalid value; `hint` shows valid ones. */
export class BadValue extends Error {
  constructor(
    readonly must: string,
    readonly hint?: string,
  ) {
    super(must)
  }
}

const SIZE_UNITS = 'bkmgtp'
const TIME_UNITS_MS: Record<string, number> = { ms: 1, s: 1e3, m: 60e3, h: 3600e3, d: 86400e3, w: 7 * 86400e3 }

/** `16`, `128MiB`, `1g`: bytes. Units are powers of 1024 in any case; no fractions. */
export function parseSize(text: string): number {
  const match = /^(\d+)(?:(b)|([kmgtp])(?:b|ib)?)?$/i.exec(text)
  if (match === null) throw new BadValue('must be a size', 'write 65536, 64KiB, 128MiB, 16GiB, ...')
  const bytes = Number(match[1]) * 1024 ** Math.max(0, SIZE_UNITS.indexOf((match[3] ?? 'b').toLowerCase()))
  if (!Number.isSafeInteger(bytes)) throw new BadValue('is larger than any size')
  return bytes
}

/** `60`, `500ms`, `30m`: milliseconds; without a unit, seconds. No fractions. */
export function parseTime(text: string): number {
  const match = /^(\d+)(ms|s|m|h|d|w)?$/i.exec(text)
  if (match === null) throw new BadValue('must be a time', 'write 90 (seconds), 500ms, 30m, 2h, 1d, 1w')
  const ms = Number(match[1]) * (TIME_UNITS_MS[(match[2] ?? 's').toLowerCase()] ?? 1000)
  if (!Number.isSafeInteger(ms)) throw new BadValue('is longer than any time')
  return ms
}

export function parseInteger(text: string): number {
  if (!/^[-+]?\d+$/.test(text) || !Number.isSafeInteger(Number(text))) throw new BadValue('must be a whole number')
  return Number(text)
}

export function parseBool(text: string): boolean {
  if (text !== 'y' && text !== 'n') throw new BadValue('must be y or n')
  return text === 'y'
}

/** Absolute, without `//`; one `/` at the end is dropped. */
export function parsePath(text: string): string {
  if (!text.startsWith('/')) throw new BadValue('must be an absolute path', 'a path begins with /')
  if (text.includes('//')) throw new BadValue('must not contain //')
  return text.length > 1 && text.endsWith('/') ? text.slice(0, -1) : text
}

/** `key=value`, split at the first `=`. */
export function parsePair(text: string): [key: string, value: string] {
  const at = text.indexOf('=')
  if (at < 1) throw new BadValue('must be name=value')
  return [text.slice(0, at), text.slice(at + 1)]
}

export interface ValueRules {
  readonly type: OptionType
  readonly choices?: readonly string[]
  readonly range?: Range
}

/** Text to value. A list or hash takes all its texts, anything else one. Throws BadValue. */
export function parseValue(texts: readonly string[], rules: ValueRules): unknown {
  if (rules.type === 'list') return [...texts]
  if (rules.type === 'hash') return new Map(texts.map(parsePair))
  const text = texts[0] ?? ''
  switch (rules.type) {
    case 'bool':
      return parseBool(text)
    case 'path':
      return parsePath(text)
    case 'string':
      return text
    case 'enum':
      if (rules.choices?.includes(text) === true) return text
      throw new BadValue(`must be one of ${(rules.choices ?? []).join(', ')}`)
    default: {
      const value = parseNumber(text, rules.type)
      if (rules.choices !== undefined && !rules.choices.some((choice) => parseNumber(choice, rules.type) === value)) {
        throw new BadValue(`must be one of ${rules.choices.join(', ')}`)
      }
      if (rules.range === undefined) return value
      const [min, max] = rules.range
      if (value < parseNumber(min, rules.type) || value > parseNumber(max, rules.type)) {
        throw new BadValue(`must be between ${min} and ${max}`)
      }
      return value
    }
  }
}

/** A number in the option table has the unit of a configuration file: bytes, or seconds. */
function parseNumber(typed: Typed, type: OptionType): number {
  const text = String(typed)
  return type === 'size' ? parseSize(text) : type === 'time' ? parseTime(text) : parseInteger(text)
}
