import type { CommandName } from './command-table.ts'
import { PgtsError } from '../util/error.ts'
import type { OptionsOf } from './typed-options.ts'

export type { CommandName } from './command-table.ts'
export type { OptionsOf, PgOptions, RepoOptions } from './typed-options.ts'

/** How configuration files are read; tests give their own. */
export interface ConfigFiles {
  /** Text (UTF-8), or undefined where nothing is there. Rejects on any other trouble. */
  read(path: string): string | undefined
  /** Names in a directory, or undefined where nothing is there. */
  list(path: string): readonly string[] | undefined
  /** Permission bits, to warn about secrets that everybody can read. */
  mode(path: string): number | undefined
}

export interface ResolveInput {
  /** What follows `pgts` on the command line. */
  readonly argv: readonly string[]
  readonly env: Readonly<Record<string, string | undefined>>
  /** Absolute path of the program, the default of `cmd`. */
  readonly program: string
  readonly cwd: string
  /** 0 is refused without allow-root; undefined where the system has no such thing. */
  readonly uid?: number | undefined
  /** What process-max=auto means. Default: cores of this machine. */
  readonly cores?: number
  readonly files?: ConfigFiles
}

export type Dialect = 'yaml' | 'ini'

/** One option as it came out, under the name it is written with (`repo1-path`). */
export interface ResolvedValue {
  readonly name: string
  /** Parsed; undefined where the option has no value. */
  readonly value: unknown
  /** Values as they were typed; empty for a default. */
  readonly typed: readonly string[]
  readonly source: 'command line' | 'environment' | 'file' | 'default'
  /** For messages: `command line`, `PGTS_REPO1_PATH`, `/etc/pgts/pgts.yaml line 4`, `default`. */
  readonly origin: string
  readonly negated: boolean
  readonly reset: boolean
}

export interface Resolved<C extends CommandName = CommandName> {
  readonly command: C
  readonly options: OptionsOf<C>
  readonly parameters: readonly string[]
  readonly dialect: Dialect
  /** To be logged once the logger stands. */
  readonly warnings: readonly string[]
  /** Stanzas with a section of their own in the configuration, sorted. */
  readonly stanzas: readonly string[]
  /** Every option valid for the command that has a value or was named, in name order. */
  readonly values: ReadonlyMap<string, ResolvedValue>
}

/** Narrow by `command`. */
export type AnyResolved = { [C in CommandName]: Resolved<C> }[CommandName]

/** Rejects with a PgtsError whose message names the option and where its value came from. */
export function resolveOptions(_input: ResolveInput): Promise<AnyResolved> {
  return Promise.reject(new PgtsError('assert', 'not there yet'))
}

/** What follows `backup command begin <version>:`, without the leading space; '' when everything is default. */
export function commandBeginArgs(_resolved: AnyResolved): string {
  return ''
}

/**
 * Arguments that make `command` see what this run saw: options of the command line that `command` understands too
 * (and config, stanza from the environment), in name order, as `--name=value`; config as an absolute path.
 */
export function commandLineFor(_resolved: AnyResolved, _command: CommandName, _cwd: string): readonly string[] {
  return []
}
