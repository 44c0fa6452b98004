import type { CommandName } from './command-table.ts'

/** How the text of a value is read. `enum` takes one of `choices`; `list` and `hash` may be given several times. */
export type OptionType = 'bool' | 'int' | 'string' | 'enum' | 'path' | 'size' | 'time' | 'list' | 'hash'

/** What pgts does with a value: act on it, warn that it does not yet, or refuse, because ignoring it would do harm. */
export type Support = 'acts' | 'warn' | 'refuse'

/** A value as typed in a configuration file (`y`, `1MiB`, `30m`), or a number. */
export type Typed = string | number

/** The same everywhere; or different in the two dialects; or following the value of the option it depends on. */
export type Default = Typed | { readonly yaml: Typed; readonly ini: Typed } | { readonly by: Record<string, Typed> }

/** Inclusive. */
export type Range = readonly [Typed, Typed]

export interface Dependency {
  readonly option: string
  /** The values of `option` that let this one count; absent: any value. */
  readonly values?: readonly Typed[]
  /** The value when this option does not count; absent: it has none. */
  readonly otherwise?: Typed
}

/** What may differ from command to command. */
export interface CommandOverride {
  readonly default?: Default
  readonly required?: boolean
  readonly choices?: readonly string[]
  readonly depend?: Dependency
  readonly internal?: true
  readonly support?: SupportColumn
}

/** One answer for every value that is not the default, or an answer for some values while the others are acted on. */
export type SupportColumn = Support | { readonly [value: string]: Support }

/** One option. Its group is the first word of its name: `repo-` and `pg-` options carry an index, see `groupOf`. */
export interface OptionRow {
  readonly summary: string
  readonly type: OptionType
  /** Where a configuration file may set it: `global` (any section; when absent), `stanza`, or `command-line` (nowhere). */
  readonly section?: 'stanza' | 'command-line'
  readonly commands: readonly CommandName[]
  readonly choices?: readonly string[]
  readonly range?: Range | { readonly by: Record<string, Range> }
  readonly default?: Default
  /** Without a default, and an error when it is missing. */
  readonly required?: true
  readonly depend?: Dependency
  /** An enum that also takes the forms of a boolean: bare means `y`. */
  readonly boolLike?: true
  /** Command-line options that know a `--no-` form; booleans of the other sections all do. */
  readonly negatable?: true
  /** Shown as `<redacted>`; only from a file or the environment, except for options of the section `command-line`. */
  readonly secret?: true
  /** Works, but is left out of help. */
  readonly internal?: true
  /** Names of earlier releases; `?` stands for the index, a name without it means index 1. */
  readonly formerly?: readonly string[]
  /** Absent: acts. */
  readonly support?: SupportColumn
  readonly for?: { readonly [C in CommandName]?: CommandOverride }
}

export function defineOptions<const T extends Record<string, OptionRow>>(rows: T): T {
  return rows
}

/** Stands for the path of the running program. */
export const PROGRAM = '<program>'

/** Every command but help and version. */
export const ANY = [
  'annotate',
  'archive-get',
  'archive-push',
  'archive-status',
  'backup',
  'check',
  'expire',
  'info',
  'lease',
  'manifest',
  'pin',
  'repo-get',
  'repo-ls',
  'repo-put',
  'repo-rm',
  'restore',
  'server',
  'server-ping',
  'stanza-create',
  'stanza-delete',
  'stanza-upgrade',
  'start',
  'stop',
  'unpin',
  'verify',
] as const satisfies readonly CommandName[]

/** Commands that read or write files and sockets. */
export const IO = without('start', 'stop')
/** Commands that open a repository. */
export const REPO = without('archive-status', 'start', 'stop', 'server', 'server-ping')
/** Commands that know where the cluster is. */
export const CLUSTER = [
  'archive-get',
  'archive-push',
  'archive-status',
  'backup',
  'check',
  'manifest',
  'restore',
  'stanza-create',
  'stanza-delete',
  'stanza-upgrade',
] as const satisfies readonly CommandName[]
/** Commands that may reach the cluster on another host. */
export const CLUSTER_HOST = [
  'backup',
  'check',
  'manifest',
  'stanza-create',
  'stanza-delete',
  'stanza-upgrade',
] as const satisfies readonly CommandName[]
/** Commands that talk to the server. */
export const DATABASE = [
  'archive-status',
  'backup',
  'check',
  'stanza-create',
  'stanza-delete',
  'stanza-upgrade',
] as const satisfies readonly CommandName[]
/** Commands that work on many files at once. */
export const JOBS = [
  'archive-get',
  'archive-push',
  'backup',
  'restore',
  'verify',
] as const satisfies readonly CommandName[]
export const COMPRESSING = ['archive-push', 'backup'] as const satisfies readonly CommandName[]

function without<const T extends (typeof ANY)[number]>(
  ...left: readonly T[]
): readonly Exclude<(typeof ANY)[number], T>[] {
  return ANY.filter((name): name is Exclude<(typeof ANY)[number], T> => !(left as readonly string[]).includes(name))
}
