import type { AnyResolved } from '../config/resolve.ts'
import { PgtsError } from '../util/error.ts'

export type Environment = Readonly<Record<string, string | undefined>>

/** Options and environment for the storage of one repository. */
export interface StorageSettings {
  readonly options: AnyResolved['options']['repo'][number]
  readonly env: Environment
  readonly ioTimeoutMs: number
  /** Prefix of its options: `repo1`. */
  readonly name: string
  /** Origin of the value of `repo1-<rest>`; undefined if it is the default. */
  readonly origin: (rest: string) => string | undefined
  /** Absent: the option is not valid for the command. */
  readonly lockPath?: string
  /** repo-target-time, milliseconds since the epoch. */
  readonly atMs?: number
}

/** The error of an option `repo1-<rest>`. */
export function invalid(settings: StorageSettings, rest: string, why: string, ...hints: string[]): PgtsError {
  const origin = settings.origin(rest)
  const from = origin === undefined ? '' : ` (from ${origin})`
  return new PgtsError('option-invalid-value', `${settings.name}-${rest}${from} ${why}`, { hints })
}
