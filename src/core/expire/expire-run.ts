import type { StorageDriver } from '../../storage/driver.ts'
import type { MessageLevel } from '../../util/log.ts'
import type { Repository } from '../repository.ts'

/** What the steps of one run share. */
export interface ExpireRun {
  /** Read only in a dry run. */
  readonly storage: StorageDriver
  readonly repository: Repository
  readonly stanza: string
  readonly dryRun: boolean
  readonly nowMs: number
  readonly signal: AbortSignal
  /** A line about this repository. */
  say(level: MessageLevel, message: string): void
}
