import type { CommandName, CommandRole, Dialect, OptionsOf } from '../config/resolve.ts'
import type { LaunchEnvironment } from '../core/archive/launcher/launch-hint.ts'
import type { BackgroundProcess } from '../core/archive/push/await-push.ts'
import type { jobHandlers } from '../core/jobs.ts'
import type { Repository, RepositoryDescription } from '../core/repository.ts'
import type { RestorePlanReport } from '../core/restore/plan-report.ts'
import type { ClusterAccess } from '../postgres/cluster-access.ts'
import type { Clock } from '../util/clock.ts'
import type { LockProgress } from '../util/lock.ts'
import type { Logger } from '../util/log.ts'
import type { Executor } from '../worker/executor.ts'

/** Locks of this stanza, held until disposed; `info` shows the progress written to them. */
export interface StanzaLock extends AsyncDisposable {
  /** @param repoKey the only repository that is written to; default: all locked ones */
  update(progress: LockProgress, repoKey?: number): void
}

/** What a person at a terminal sees of a long command. Without a terminal nothing is shown. */
export interface ProgressDisplay {
  /** Begins a phase: `copying`. @param total absent: unknown. @param unit default: bytes */
  phase(name: string, total?: number, unit?: 'bytes' | 'directories'): void
  /** @param done of this phase so far. @param total if it has changed */
  done(done: number, total?: number): void
  /** Shows in short what a restore is about to do. @param report called only at a terminal */
  plan(report: () => Promise<RestorePlanReport>): Promise<void>
}

/** Workers of a command. */
export interface WorkersWanted {
  /** Fewer than process-max. */
  readonly most?: number
  /** Whose files jobs read; default: of this host. */
  readonly cluster?: ClusterAccess
}

/**
 * The environment of a command. It opens resources here: those opened with `await using` are closed by its block,
 * repositories are closed by the terminal layer. A command returns a report (plain data) and prints nothing.
 */
export interface CommandContext<C extends CommandName = CommandName> {
  readonly command: C
  readonly options: OptionsOf<C>
  /** Selects the defaults: those of pgts (`yaml`) or of pgbackrest (`ini`). */
  readonly dialect: Dialect
  /** '' if the command was called without a stanza. */
  readonly stanza: string
  readonly log: Logger
  readonly clock: Clock
  readonly signal: AbortSignal
  readonly progress: ProgressDisplay
  /** Parameters after the command, for example the WAL path of archive-push. */
  readonly parameters: readonly string[]
  /** The environment, for the PG* variables of libpq, for which pgts has no options. */
  readonly env: Readonly<Record<string, string | undefined>>
  /** Working directory at the start of the command. */
  readonly cwd: string
  /** Absolute path of the program, for a restore_command. */
  readonly program: string
  /** True if this option (`type`, `repo1-path`) is set in any source, so that its value is not the default. */
  isSet(option: string): boolean
  /** The value of an option (`pg1-path`) in environment and files, as typed, even if the command line overrides it. */
  configured(option: string): string | undefined
  /** For an error about a stanza that the configuration does not have: where pgts looked, and the stanzas it found. */
  readonly stanzaHints: readonly string[]
  /** Log the end of this command and the begin of `command`, in the log file of `command`. Options and locks do not change. */
  continueAs(command: CommandName): void
  /** Options given on the command line that `command` understands too, as arguments (`--stanza=main`), in name order. */
  commandLineFor(command: CommandName): readonly string[]
  /** The repository of `--repo`, else every configured one in key order. */
  repositories(): Promise<readonly Repository[]>
  /**
   * The cluster of `options.pg[index]`, default that of pg1, opened once and closed with the context. The directory is not
   * examined, and the server is not asked.
   *
   * @throws PgtsError option-required without pgN-path
   */
  cluster(index?: number): Promise<ClusterAccess>
  /** Worker threads for jobs on these repositories: process-max, if `wanted` has no lower number. */
  executor(repositories: readonly Repository[], wanted?: WorkersWanted): Promise<Executor<typeof jobHandlers>>
  /**
   * Take the locks that the command table lists for this command, in every selected repository.
   *
   * @throws PgtsError lock-acquire when another process holds one; stop when a stop file forbids this command
   */
  lock(): Promise<StanzaLock>
  /**
   * The lease of this stanza in a repository, which prevents commands on other hosts from changing it; take the locks
   * first. A second call returns a lease that is held already. [050] if another host holds it.
   */
  lease(repository: Repository): Promise<AsyncDisposable>
  /**
   * Ask a question at the terminal; undefined without a terminal (cron, a pipe). Then the caller
   * decides by its options.
   */
  confirm(question: string): Promise<string | undefined>
  /** [062] if a stop file for this stanza or for all exists. */
  refuseWhenStopped(): Promise<void>
}

/**
 * Values that few commands use: facts of this call for launch hints, the background process of archive-push and archive-get,
 * and how the configuration was read.
 */
export interface LauncherContext {
  /** The configuration files that were read, in order. */
  readonly configFiles: readonly string[]
  /** Files that were read, those with secrets that other users can access, and the other warnings. */
  readonly configuration: {
    readonly files: readonly string[]
    readonly exposed: readonly string[]
    readonly warnings: readonly string[]
  }
  /** The repositories as plain data with their credentials: never log it. */
  descriptions(): readonly RepositoryDescription[]
  /** All configuration files and directories that were searched, existing or not. */
  readonly configLooked: readonly string[]
  /** The command line as it was given, with undefined for each parameter. */
  readonly callPattern: readonly (string | undefined)[]
  /** The environment variables that a launch hint compares. */
  readonly environment: LaunchEnvironment
  /** Every option that is not a secret and its value, as text: equal if and only if two processes work with the same ones. */
  readonly settings: string
  /** Start time of this process, taken before it read anything; ms since 1970. */
  readonly startedMs: number
  /**
   * Starts `<this command>:async`, or another role, with this run's options. Resolves when the process has started; does not
   * wait for its end.
   */
  startBackground(parameters: readonly string[], role?: CommandRole): Promise<BackgroundProcess>
}
