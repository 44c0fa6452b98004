import type { LockType } from '../util/lock-file.ts'

/** The parameters after the name of a command. */
export interface Parameters {
  /** Shown in help, for example `WAL-PATH`. */
  readonly usage: string
  readonly min: number
  readonly max: number
  /** With too many parameters this command ends with [043] as in pgBackRest, others with [096]. */
  readonly tooManyIsRequired?: true
}

/** One command. Locks, log file and stop-file rule are those of pgBackRest, so that both programs can be used together. */
export interface CommandRow {
  readonly summary: string
  /** Absent: the command takes no parameters. */
  readonly parameters?: Parameters
  /** Parameters of `<command>:async`, its background process. Absent: it has none. */
  readonly async?: Parameters
  /** Parameters of `<command>:hook`, which runs a hook that the command does not wait for. Absent: it has none. */
  readonly hook?: Parameters
  /** Parameters of `<command>:remote`. Absent: none. */
  readonly remote?: Parameters
  /** Locks that the command takes, one file for each type and repository. Absent: none. */
  readonly locks?: readonly LockType[]
  /** The locks protect files of this host only: none is taken on a repository host. */
  readonly locksHere?: true
  /** A run writes `<log-path>/<stanza>-<command>.log`; otherwise only if --log-level-file is on the command line. */
  readonly logFile?: true
  /** Level of the begin and end lines; `debug` for commands that print a report. */
  readonly frameLevel: 'info' | 'debug'
  /** `none`: the option does not exist for the command. */
  readonly stanza: 'required' | 'optional' | 'none'
  /** A long command: a person at a terminal sees its progress. */
  readonly progress?: true
  /** The command ends with [062] while a stop file exists. */
  readonly stops?: true
  /** The command asks for missing values and writes the configuration: neither a missing option nor a missing file is an error. */
  readonly asks?: true
  /** The report of the command has the warnings about the configuration, so they are not logged. */
  readonly reportsWarnings?: true
  /** For maintainers only: not in the general help. */
  readonly internal?: true
}

const ALL = ['archive', 'backup', 'restore'] as const

function defineCommands<const T extends Record<string, CommandRow>>(rows: T): T {
  return rows
}

export const commandTable = defineCommands({
  annotate: {
    summary: 'Add notes to a backup, or change them.',
    locks: ['backup'],
    frameLevel: 'info',
    stanza: 'required',
  },
  'archive-allow': {
    summary: 'Let a restored cluster archive: it replaces the original.',
    frameLevel: 'info',
    stanza: 'required',
  },
  'archive-get': {
    summary: 'Fetch one WAL segment; PostgreSQL calls it as restore_command.',
    parameters: { usage: 'WAL-SEGMENT DESTINATION', min: 2, max: 2 },
    async: { usage: '[WAL-SEGMENT...]', min: 0, max: 100_000 },
    frameLevel: 'info',
    stanza: 'required',
  },
  'archive-push': {
    summary: 'Store one WAL segment; PostgreSQL calls it as archive_command.',
    parameters: { usage: 'WAL-PATH', min: 1, max: 1, tooManyIsRequired: true },
    async: { usage: 'WAL-DIRECTORY', min: 1, max: 1 },
    hook: { usage: 'begun|continues|ended', min: 1, max: 1 },
    // Taken by the background process alone, while it pushes.
    locks: ['archive'],
    locksHere: true,
    frameLevel: 'info',
    stanza: 'required',
    stops: true,
  },
  'archive-status': {
    summary: 'Show how WAL gets into the archive: queue, lag, failures.',
    frameLevel: 'debug',
    stanza: 'required',
  },
  backup: {
    summary: 'Back up a cluster.',
    locks: ['backup'],
    logFile: true,
    progress: true,
    frameLevel: 'info',
    stanza: 'required',
    stops: true,
  },
  check: {
    summary: 'Check that configuration and archiving work.',
    frameLevel: 'info',
    stanza: 'optional',
  },
  completion: {
    summary: 'Print the completion script of a shell.',
    parameters: { usage: 'bash|zsh|fish', min: 1, max: 1 },
    frameLevel: 'debug',
    stanza: 'none',
  },
  demo: {
    summary: 'Back up and restore a server of its own, explained.',
    frameLevel: 'debug',
    stanza: 'none',
  },
  doctor: {
    summary: 'Find what endangers backups, with the next command for each.',
    frameLevel: 'debug',
    stanza: 'optional',
    reportsWarnings: true,
  },
  drill: {
    summary: 'Prove that a backup restores: restore, recover, check, remove.',
    logFile: true,
    progress: true,
    frameLevel: 'info',
    stanza: 'required',
  },
  expire: {
    summary: 'Remove backups and WAL that retention does not keep.',
    locks: ['backup'],
    logFile: true,
    progress: true,
    frameLevel: 'info',
    stanza: 'required',
    stops: true,
  },
  help: {
    summary: 'Explain a command, an option or a situation.',
    parameters: { usage: '[COMMAND [OPTION]]', min: 0, max: 2 },
    frameLevel: 'debug',
    stanza: 'none',
  },
  info: {
    summary: 'Show what is in the repositories.',
    frameLevel: 'debug',
    stanza: 'optional',
  },
  init: {
    summary: 'Set up backups of a cluster on this host.',
    frameLevel: 'debug',
    stanza: 'optional',
    asks: true,
  },
  lease: {
    summary: 'Show which host holds the lease, or break a stale one.',
    frameLevel: 'debug',
    stanza: 'required',
  },
  manifest: {
    summary: 'Show the manifest of a backup.',
    frameLevel: 'debug',
    stanza: 'required',
    internal: true,
  },
  metrics: {
    summary: 'Show the state of repositories and archiving for Prometheus.',
    frameLevel: 'debug',
    stanza: 'optional',
  },
  'move-target': {
    summary: 'Move the recovery target of a restored cluster forward.',
    locks: ['restore'],
    locksHere: true,
    frameLevel: 'info',
    stanza: 'required',
  },
  pin: {
    summary: 'Exclude a backup from retention.',
    parameters: { usage: 'LABEL', min: 1, max: 1 },
    locks: ['backup'],
    frameLevel: 'info',
    stanza: 'required',
  },
  'repo-get': {
    summary: 'Print a file of the repository.',
    parameters: { usage: 'FILE', min: 1, max: 1, tooManyIsRequired: true },
    frameLevel: 'debug',
    stanza: 'optional',
  },
  'repo-ls': {
    summary: 'List files of the repository.',
    parameters: { usage: '[PATH]', min: 0, max: 1 },
    frameLevel: 'debug',
    stanza: 'optional',
  },
  'repo-put': {
    summary: 'Write a file of the repository.',
    parameters: { usage: 'FILE', min: 1, max: 1, tooManyIsRequired: true },
    frameLevel: 'debug',
    stanza: 'optional',
    internal: true,
  },
  'repo-rm': {
    summary: 'Remove files of the repository.',
    parameters: { usage: 'PATH', min: 1, max: 1 },
    frameLevel: 'debug',
    stanza: 'optional',
    internal: true,
  },
  report: {
    summary: 'Write the state of the repositories as a page of HTML.',
    frameLevel: 'debug',
    stanza: 'optional',
  },
  restore: {
    summary: 'Restore a cluster, completely or only the differences.',
    locks: ['restore'],
    locksHere: true,
    logFile: true,
    progress: true,
    frameLevel: 'info',
    stanza: 'required',
  },
  server: {
    summary: 'Serve repositories and clusters of this host over TLS.',
    remote: { usage: 'STANZA,...', min: 1, max: 1 },
    logFile: true,
    frameLevel: 'info',
    stanza: 'none',
  },
  'server-ping': {
    summary: 'Check whether a TLS server answers.',
    parameters: { usage: '[HOST]', min: 0, max: 1 },
    frameLevel: 'info',
    stanza: 'none',
  },
  'stanza-create': {
    summary: 'Prepare the repositories for a cluster.',
    locks: ALL,
    logFile: true,
    frameLevel: 'info',
    stanza: 'required',
    stops: true,
  },
  'stanza-delete': {
    summary: 'Remove a stanza and everything in it.',
    locks: ALL,
    logFile: true,
    frameLevel: 'info',
    stanza: 'required',
  },
  'stanza-upgrade': {
    summary: 'Update the repositories after an upgrade of the cluster.',
    locks: ALL,
    logFile: true,
    frameLevel: 'info',
    stanza: 'required',
    stops: true,
  },
  start: {
    summary: 'Allow commands to run again.',
    logFile: true,
    frameLevel: 'info',
    stanza: 'optional',
  },
  stop: {
    summary: 'Prevent commands from running.',
    logFile: true,
    frameLevel: 'info',
    stanza: 'optional',
  },
  unpin: {
    summary: 'Make retention apply to a backup again.',
    parameters: { usage: 'LABEL', min: 1, max: 1 },
    locks: ['backup'],
    frameLevel: 'info',
    stanza: 'required',
  },
  verify: {
    summary: 'Read a repository again and compare checksums.',
    logFile: true,
    progress: true,
    frameLevel: 'info',
    stanza: 'required',
  },
  version: { summary: 'Show the version.', frameLevel: 'debug', stanza: 'none' },
})

export type CommandName = keyof typeof commandTable

export const commandNames = (Object.keys(commandTable) as CommandName[]).sort()

export function commandRow(name: CommandName): CommandRow {
  return commandTable[name]
}
