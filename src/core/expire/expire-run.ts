import type { StorageDriver } from '../../storage/driver.ts'
import type { MessageLevel } from '../../util/log.ts'
import type { Repository } from '../repository.ts'
import type { RemovalProgress } from './removal-progress.ts'

/** Values shared by the steps of one run. */
export interface ExpireRun {
  /** Read only in a dry run. */
  readonly storage: StorageDriver
  readonly repository: Repository
  readonly stanza: string
  readonly dryRun: boolean
  readonly nowMs: number
  readonly signal: AbortSignal
  readonly progress: RemovalProgress
  /** Logs a line about this repository. */
  say(level: MessageLevel, message: string): void
}
