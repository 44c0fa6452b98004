import type { CommandRole } from './command-roles.ts'
import type { CommandName } from './command-table.ts'

/** How the text of a value is read. `enum` takes one of `choices`; `list` and `hash` may be given several times. */
export type OptionType = 'bool' | 'int' | 'string' | 'enum' | 'path' | 'size' | 'time' | 'list' | 'hash'

/** What pgts does with a value: use it, warn that it is ignored, or refuse it, because ignoring it would be unsafe. */
export type Support = 'acts' | 'warn' | 'refuse'

/** A value as typed in a configuration file (`y`, `1MiB`, `30m`), or a number. */
export type Typed = string | number

/** One default; or one for each dialect; or one for each value of the option it depends on. */
export type Default = Typed | { readonly yaml: Typed; readonly ini: Typed } | { readonly by: Record<string, Typed> }

/** Inclusive. */
export type Range = readonly [Typed, Typed]

export interface Dependency {
  readonly option: string
  /** This option is effective with these values of `option`; absent: with any value. */
  readonly values?: readonly Typed[]
  /** The value if this option is not effective; absent: none. */
  readonly otherwise?: Typed
}

/** Columns that can differ for a command. */
export interface CommandOverride {
  readonly default?: Default
  readonly required?: boolean
  readonly choices?: readonly string[]
  readonly depend?: Dependency
  readonly internal?: true
  readonly support?: SupportColumn
}

/** For every value but the default, or for the listed values while the others are used. */
export type SupportColumn = Support | { readonly [value: string]: Support }

/** One option. Its group is the first word of its name: `repo-` and `pg-` options carry an index, see `groupOf`. */
export interface OptionRow {
  readonly summary: string
  readonly type: OptionType
  /** Where a configuration file may set it: `global` (any section; when absent), `stanza`, or `command-line` (nowhere). */
  readonly section?: 'stanza' | 'command-line'
  readonly commands: readonly CommandName[]
  /** Only valid for these processes of the commands. */
  readonly roles?: readonly CommandRole[]
  readonly choices?: readonly string[]
  readonly range?: Range | { readonly by: Record<string, Range> }
  readonly default?: Default
  /** Without a default, and an error when it is missing. */
  readonly required?: true
  /** A value, for the hint when it is missing. */
  readonly example?: string
  readonly depend?: Dependency
  /** An enum that also takes the forms of a boolean: bare means `y`. */
  readonly boolLike?: true
  /** A command-line option with a `--no-` form; booleans of the other sections always have it. */
  readonly negatable?: true
  /** Shown as `<redacted>`; only from a file or the environment, except for options of the section `command-line`. */
  readonly secret?: true
  /** Works, but is not in help. */
  readonly internal?: true
  /** Values of earlier releases, which are refused: the hint for each. */
  readonly formerValues?: Readonly<Record<string, string>>
  /** Names of earlier releases; `?` stands for the index, a name without it means index 1. */
  readonly formerly?: readonly string[]
  /** Absent: the option is supported. */
  readonly support?: SupportColumn
  readonly for?: { readonly [C in CommandName]?: CommandOverride }
}

export function defineOptions<const T extends Record<string, OptionRow>>(rows: T): T {
  return rows
}

/** Placeholder for the path of the running program. */
export const PROGRAM = '<program>'

/** Every command that can read a configuration file. */
export const ANY = [
  'annotate',
  'archive-allow',
  'archive-get',
  'archive-push',
  'archive-status',
  'backup',
  'check',
  'doctor',
  'drill',
  'expire',
  'info',
  'init',
  'lease',
  'manifest',
  'move-target',
  'metrics',
  'pin',
  'repo-get',
  'repo-ls',
  'repo-put',
  'repo-rm',
  'report',
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
/** Commands with the options of the cluster's directory. */
export const CLUSTER = [
  'archive-allow',
  'archive-get',
  'archive-push',
  'archive-status',
  'backup',
  'check',
  'doctor',
  'drill',
  'init',
  'manifest',
  'move-target',
  'metrics',
  'restore',
  'stanza-create',
  'stanza-delete',
  'stanza-upgrade',
] as const satisfies readonly CommandName[]
/** Commands that may reach the cluster on another host. */
export const CLUSTER_HOST = [
  'backup',
  'check',
  'doctor',
  'manifest',
  'stanza-create',
  'stanza-delete',
  'stanza-upgrade',
] as const satisfies readonly CommandName[]
/** Commands that change files of the cluster, are called by its server, or set it up: they run on its host only. */
export const ON_CLUSTER_HOST: readonly CommandName[] = [
  'archive-allow',
  'archive-get',
  'archive-push',
  'archive-status',
  'init',
  'move-target',
  'restore',
]
/** Commands that connect to the server. */
export const DATABASE = [
  'archive-status',
  'backup',
  'check',
  'doctor',
  'drill',
  'init',
  'move-target',
  'metrics',
  'stanza-create',
  'stanza-delete',
  'stanza-upgrade',
] as const satisfies readonly CommandName[]
/** Commands that work on many files at once. */
export const JOBS = [
  'archive-get',
  'archive-push',
  'backup',
  'drill',
  'restore',
  'verify',
] as const satisfies readonly CommandName[]
export const COMPRESSING = ['archive-push', 'backup'] as const satisfies readonly CommandName[]

function without<const T extends (typeof ANY)[number]>(
  ...left: readonly T[]
): readonly Exclude<(typeof ANY)[number], T>[] {
  return ANY.filter((name): name is Exclude<(typeof ANY)[number], T> => !(left as readonly string[]).includes(name))
}
