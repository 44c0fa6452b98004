import type { CommandName } from './command-table.ts'
import type { Group, optionTable, OptionName } from './option-table.ts'

type Table = typeof optionTable

/** `compress-type` is `compressType`. */
export type Camel<S extends string> = S extends `${infer Head}-${infer Tail}` ? `${Head}${Capitalize<Camel<Tail>>}` : S

/** The TypeScript type of each option type: sizes are bytes, times milliseconds. */
interface ValueOfType {
  bool: boolean
  int: number
  string: string
  path: string
  size: number
  time: number
  list: readonly string[]
  hash: ReadonlyMap<string, string>
}

type Override<K extends OptionName, C extends CommandName> = Table[K] extends { for: infer F }
  ? C extends keyof F
    ? F[C]
    : unknown
  : unknown

/** A column of the row, as command C overrides it; `never` where neither has it. */
type Column<K extends OptionName, C extends CommandName, Name extends string> =
  Override<K, C> extends { readonly [N in Name]: infer V }
    ? V
    : Table[K] extends { readonly [N in Name]: infer V }
      ? V
      : never

type Present<T> = [T] extends [never] ? false : true

type Kind<K extends OptionName, C extends CommandName> = Table[K]['type'] extends 'enum'
  ? Column<K, C, 'choices'> extends readonly (infer Choice)[]
    ? Choice
    : never
  : Table[K]['type'] extends keyof ValueOfType
    ? ValueOfType[Table[K]['type']]
    : never

/** True if there is always a value: the option has a default or is required, and `otherwise` if it depends on another option. */
type Certain<K extends OptionName, C extends CommandName> =
  Present<Column<K, C, 'depend'>> extends true
    ? Column<K, C, 'depend'> extends { readonly otherwise: unknown }
      ? DefinedValue<K, C>
      : false
    : DefinedValue<K, C>

type DefinedValue<K extends OptionName, C extends CommandName> =
  Present<Column<K, C, 'default'>> extends true
    ? true
    : Column<K, C, 'required'> extends true
      ? Present<Column<K, C, 'required'>>
      : false

/** For one command; distributes over unions of commands. */
type ValueFor<K extends OptionName, C extends CommandName> = C extends Table[K]['commands'][number]
  ? Certain<K, C> extends true
    ? Kind<K, C>
    : Kind<K, C> | undefined
  : undefined

type Ungrouped = 'repo-target-time' | 'pg-version-force'
type Grouped<G extends Group> = Exclude<Extract<OptionName, `${G}-${string}`>, Ungrouped>
type Flat = Exclude<OptionName, Grouped<Group>>

/** `--repo` and `--pg` select by number; the groups have the plain names. */
type FlatKey<K extends Flat> = K extends Group ? `${K}Key` : Camel<K>

type GroupMember<G extends Group, C extends CommandName> = {
  /** repo1 is 1. */
  readonly key: number
} & { readonly [K in Grouped<G> as K extends `${G}-${infer Rest}` ? Camel<Rest> : never]: ValueFor<K, C> }

type RepoCommand = Table['repo-type']['commands'][number]
type ClusterCommand = Table['pg-path']['commands'][number]

/** One repository; `RepoOptions` without a command has the options that all commands with repositories share. */
export type RepoOptions<C extends CommandName = RepoCommand> = GroupMember<'repo', C>
/** One cluster (pg1 is key 1). */
export type PgOptions<C extends CommandName = ClusterCommand> = GroupMember<'pg', C>

/**
 * The options of a command: `startFast`, `compressType`, `archiveTimeout` (ms), `bufferSize` (bytes), `exclude`
 * (string[]), `linkMap` (Map). undefined if the option is not valid for the command, has no value, or depends on
 * another option whose value disables it. Repositories and clusters are lists in the order of their keys.
 */
export type OptionsOf<C extends CommandName> = { readonly [K in Flat as FlatKey<K>]: ValueFor<K, C> } & {
  readonly repo: readonly RepoOptions<C>[]
  readonly pg: readonly PgOptions<C>[]
}

export function camel(name: string): string {
  return name.replace(/-(.)/g, (_, letter: string) => letter.toUpperCase())
}
