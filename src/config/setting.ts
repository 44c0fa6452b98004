import type { OptionName } from './option-table.ts'
import { withIndex } from './option-name.ts'

/** Sources of a value, in order of precedence. */
export type Source = 'command line' | 'environment' | 'file' | 'default'

/** The value of one option in one source. */
export interface Setting {
  readonly option: OptionName
  /** 1 to 256 for options of a group, else 0. */
  readonly key: number
  /** As typed; several for lists and hashes; a boolean is `y` or `n`. Empty when negated (not a boolean) or reset. */
  readonly typed: readonly string[]
  readonly negated: boolean
  readonly reset: boolean
  readonly source: Source
  /** For messages: `command line`, `PGTS_REPO1_PATH`, `/etc/pgts/pgts.yaml line 4`. */
  readonly origin: string
}

/** `repo1-path (from PGTS_REPO1_PATH)`. */
export function describe(setting: Pick<Setting, 'option' | 'key' | 'origin' | 'source'>): string {
  return `${withIndex(setting.option, setting.key)} (from ${setting.source === 'command line' ? 'the ' : ''}${setting.origin})`
}

export function settingId(option: OptionName, key: number): string {
  return withIndex(option, key)
}
