import type { CommandName, OptionsOf } from '../config/resolve.ts'
import type { ClusterFiles } from '../postgres/cluster-access.ts'
import type { jobHandlers } from '../core/jobs.ts'
import type { StorageDriver, StorageDescription } from '../storage/driver.ts'
import type { Clock } from '../util/clock.ts'
import type { Logger } from '../util/log.ts'
import type { Executor } from '../worker/executor.ts'

/** A repository as commands use it: its number, its storage, and how a worker opens the same. */
export interface Repository {
  /** repo1 is 1. */
  readonly key: number
  readonly storage: StorageDriver
  readonly description: StorageDescription
}

/**
 * What a command is given. It asks here for what it opens, and closes it with `await using`.
 * A command returns a report (plain data) and prints nothing.
 */
export interface CommandContext<C extends CommandName = CommandName> {
  readonly command: C
  readonly options: OptionsOf<C>
  /** The stanza name; only commands that require one read it. */
  readonly stanza: string
  readonly log: Logger
  readonly clock: Clock
  readonly signal: AbortSignal
  /** Parameters after the command, for example the WAL path of archive-push. */
  readonly parameters: readonly string[]
  /** The selected repository (`--repo`), or all configured ones in key order. */
  repositories(): Promise<readonly Repository[]>
  /** The files of pg1. */
  cluster(): Promise<ClusterFiles>
  executor(): Promise<Executor<typeof jobHandlers>>
}
