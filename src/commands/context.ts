import type { CommandName, Dialect, OptionsOf } from '../config/resolve.ts'
import type { LaunchEnvironment } from '../core/archive/launch-environment.ts'
import type { InfoPlace } from '../core/info-store.ts'
import type { jobHandlers } from '../core/jobs.ts'
import type { ClusterFiles } from '../postgres/cluster-access.ts'
import type { StorageDescription, StorageDriver } from '../storage/driver.ts'
import type { Clock } from '../util/clock.ts'
import type { LockProgress } from '../util/lock.ts'
import type { Logger } from '../util/log.ts'
import type { Executor } from '../worker/executor.ts'

/** A repository as commands use it: its number, its storage, what unlocks it, and how a worker opens the same. */
export interface Repository extends InfoPlace {
  /** repo1 is 1. */
  readonly key: number
  readonly storage: StorageDriver
  readonly description: StorageDescription
}

/** Locks of this stanza, held until disposed; progress written to them is what `info` shows meanwhile. */
export interface StanzaLock extends AsyncDisposable {
  /** @param repoKey the only repository that is written to; default: all that are locked */
  update(progress: LockProgress, repoKey?: number): void
}

/** A process that was started to go on after this one. */
export interface BackgroundProcess {
  readonly pid: number
  /** How it ended, to follow 'it ended': `with exit code 41`, `of SIGKILL`. undefined while it lives. */
  ended(): string | undefined
}

/**
 * What a command is given. It asks here for what it opens; what it opens with `await using` is closed by its block,
 * repositories are closed by the terminal layer. A command returns a report (plain data) and prints nothing.
 */
export interface CommandContext<C extends CommandName = CommandName> {
  readonly command: C
  readonly options: OptionsOf<C>
  /** Whose defaults hold: pgts's own (`yaml`), or those of pgbackrest (`ini`). */
  readonly dialect: Dialect
  /** The stanza name, '' where the command was called without one. */
  readonly stanza: string
  readonly log: Logger
  readonly clock: Clock
  readonly signal: AbortSignal
  /** Parameters after the command, for example the WAL path of archive-push. */
  readonly parameters: readonly string[]
  /** The environment, for what pgts has no option for: PG* variables of libpq. */
  readonly env: Readonly<Record<string, string | undefined>>
  /** Directory the command was started in. */
  readonly cwd: string
  /** Absolute path of the program, for a restore_command. */
  readonly program: string
  /** Did the user set this option (`type`, `repo1-path`) anywhere, or is its value the default? */
  isSet(option: string): boolean
  /** What environment and files say about an option (`pg1-path`), as typed, also where the command line says otherwise. */
  configured(option: string): string | undefined
  /** End this command in the log, and begin `command` there, in its own log file. Options and locks stay as they are. */
  continueAs(command: CommandName): void
  /** Options given on the command line that `command` understands too, as arguments (`--stanza=main`), in name order. */
  commandLineFor(command: CommandName): readonly string[]
  /** The repository of `--repo`, else every configured one in key order. */
  repositories(): Promise<readonly Repository[]>
  /** The files of pg1. */
  cluster(): Promise<ClusterFiles>
  /** Worker threads (process-max, but not more than `most`) that read this cluster and work on this repository. */
  executor(repository: Repository, most?: number): Promise<Executor<typeof jobHandlers>>
  /**
   * Take the locks that the command table lists for this command, in every selected repository.
   *
   * @throws PgtsError lock-acquire when another process holds one; stop when a stop file forbids this command
   */
  lock(): Promise<StanzaLock>
  /**
   * The lease of this stanza in a repository, which keeps commands on other hosts from changing it meanwhile; the locks
   * come first. Taken once, however often it is asked for. [050] when another host holds it.
   */
  lease(repository: Repository): Promise<AsyncDisposable>
  /**
   * Ask the person at the terminal to type an answer; undefined where nobody can be asked (cron, a pipe). Whoever gets
   * undefined decides by what the command line says.
   */
  confirm(question: string): Promise<string | undefined>
  /** [062] when a stop file for this stanza, or for all, stands. */
  refuseWhenStopped(): Promise<void>
}

/** What only archive-push and archive-get use: facts of this call for launch hints, and their background process. */
export interface LauncherContext {
  /** The configuration files that were read, in order. */
  readonly configFiles: readonly string[]
  /** Every configuration file and directory that was looked for, found or not. */
  readonly configLooked: readonly string[]
  /** The command line as it was given, with undefined for each parameter. */
  readonly callPattern: readonly (string | undefined)[]
  /** The variables that a launch hint compares. */
  readonly environment: LaunchEnvironment
  /** Start time of this process, before it read anything; ms since 1970. */
  readonly startedMs: number
  /** Start `<this command>:async` with this run's options. Resolves when the process runs; does not wait for its end. */
  startBackground(parameters: readonly string[]): Promise<BackgroundProcess>
}
