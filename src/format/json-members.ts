import { PgtsError } from '../util/error.ts'
import { isBackupLabel, type BackupLabel } from './backup-label.ts'
import { parseJson, type JsonObject, type JsonValue } from './canonical-json.ts'
import type { ReadSection } from './info-file.ts'
import { asBytes, type ByteString } from '../util/byte-string.ts'

export const U32_MAX = 2 ** 32 - 1
/** Seconds since the epoch: the last time that a Date can represent, in the year 275760. */
export const TIME_MAX = 8_640_000_000_000
const U64_MAX = 2n ** 64n - 1n

/** Reads the members of a JSON object, or the keys of a section, one by one with their types. */
export class Members {
  readonly #left: Map<string, JsonValue>
  /** @param where object that has the members, for messages: `backup.info, backup 20261122-062513F` */
  constructor(
    readonly where: string,
    members: Iterable<readonly [string, JsonValue]>,
  ) {
    this.#left = new Map(members)
  }

  static ofJson(where: string, text: string): Members {
    const value = parseJson(text)
    if (!(value instanceof Map)) throw new PgtsError('format', `${where}: expected a JSON object`)
    return new Members(where, value as JsonObject)
  }

  static ofSection(where: string, section: ReadSection | undefined): Members {
    const members: [string, JsonValue][] = []
    for (const [key, value] of section?.entries ?? []) members.push([key, parseJson(value)])
    return new Members(where, members)
  }

  /** The unknown members, from a newer release. */
  rest(): JsonObject {
    return this.#left
  }

  has(key: string): boolean {
    return this.#left.has(key)
  }

  string(key: string): ByteString {
    return this.optionalString(key) ?? this.#missing(key)
  }
  integer(key: string, max = Number.MAX_SAFE_INTEGER): number {
    return this.optionalInteger(key, max) ?? this.#missing(key)
  }
  boolean(key: string): boolean {
    return this.optionalBoolean(key) ?? this.#missing(key)
  }
  /** 0 to 2^64 - 1. */
  u64(key: string): bigint {
    const value = this.take(key) ?? this.#missing(key)
    if (typeof value !== 'number' && typeof value !== 'bigint') return this.#wrong(key, 'an integer')
    const exact = BigInt(value)
    return exact < 0n || exact > U64_MAX ? this.#wrong(key, 'an unsigned 64-bit integer') : exact
  }

  optionalString(key: string): ByteString | undefined {
    const value = this.take(key)
    if (value === undefined) return undefined
    return typeof value === 'string' ? asBytes(value) : this.#wrong(key, 'a string')
  }
  /** @param expected for messages: `a backup label` */
  optionalMatch(key: string, pattern: RegExp, expected: string): string | undefined {
    const value = this.optionalString(key)
    return value === undefined || pattern.test(value) ? value : this.#wrong(key, expected)
  }
  match(key: string, pattern: RegExp, expected: string): string {
    return this.optionalMatch(key, pattern, expected) ?? this.#missing(key)
  }
  optionalLabel(key: string): BackupLabel | undefined {
    const value = this.optionalString(key)
    return value === undefined || isBackupLabel(value) ? value : this.#wrong(key, 'a backup label')
  }
  label(key: string): BackupLabel {
    return this.optionalLabel(key) ?? this.#missing(key)
  }
  /** `9.6`, `15`: it is used in names of directories, so its form is checked. */
  postgresVersion(key: string): string {
    return this.match(key, /^[0-9]{1,3}(?:\.[0-9]{1,2})?$/, 'a version of PostgreSQL')
  }
  /** Also undefined if the file has null. */
  optionalSegment(key: string): string | undefined {
    if (this.#left.get(key) === null) this.take(key)
    return this.optionalMatch(key, /^[0-9A-F]{24}$/, 'the name of a WAL segment')
  }
  optionalLsn(key: string): string | undefined {
    return this.optionalMatch(key, /^[0-9A-F]{1,8}\/[0-9A-F]{1,8}$/, 'an LSN')
  }
  /** Seconds since the epoch. */
  time(key: string): number {
    return this.integer(key, TIME_MAX)
  }

  optionalInteger(key: string, max = Number.MAX_SAFE_INTEGER): number | undefined {
    const value = this.take(key)
    if (value === undefined) return undefined
    if (typeof value === 'number' && value >= 0 && value <= max) return value
    return this.#wrong(key, `an integer from 0 to ${max}`)
  }
  optionalBoolean(key: string): boolean | undefined {
    const value = this.take(key)
    return value === undefined || typeof value === 'boolean' ? value : this.#wrong(key, 'true or false')
  }
  labels(key: string): readonly BackupLabel[] | undefined {
    const value = this.take(key)
    if (value === undefined) return undefined
    const isLabel = (item: JsonValue): item is BackupLabel => typeof item === 'string' && isBackupLabel(item)
    return Array.isArray(value) && value.every(isLabel) ? value : this.#wrong(key, 'a list of backup labels')
  }
  /** An object of strings; empty if the key is missing. */
  annotations(key: string): ReadonlyMap<string, string> {
    const value = this.take(key)
    if (value === undefined || value === null) return new Map()
    if (value instanceof Map && [...value.values()].every((item) => typeof item === 'string')) {
      return value as ReadonlyMap<ByteString, JsonValue> as ReadonlyMap<ByteString, ByteString>
    }
    return this.#wrong(key, 'an object of strings')
  }

  /** Any value; it is no longer treated as unknown. */
  take(key: string): JsonValue | undefined {
    const value = this.#left.get(key)
    this.#left.delete(key)
    return value
  }

  #missing(key: string): never {
    throw new PgtsError('format', `${this.where}: '${key}' is missing`)
  }
  #wrong(key: string, expected: string): never {
    throw new PgtsError('format', `${this.where}: '${key}' must be ${expected}`)
  }
}

/**
 * Unknown members of a newer release, written back unchanged. pgBackRest compares member names only up to the length of
 * the unknown name, so a name that is a prefix of a known one would be read as that one: such a member is dropped.
 */
export function carriedMembers(rest: JsonObject, known: readonly string[]): { extra?: JsonObject } {
  const extra = new Map([...rest].filter(([key]) => !known.some((name) => name.startsWith(key))))
  return extra.size === 0 ? {} : { extra }
}

/** A JSON object of the known members (without `undefined` ones) and the kept ones, for `serialiseJson`. */
export function withCarried(known: Readonly<Record<string, JsonValue | undefined>>, extra?: JsonObject): JsonObject {
  const members = new Map<string, JsonValue>(extra)
  for (const [key, value] of Object.entries(known)) if (value !== undefined) members.set(key, value)
  return members
}
