import { archiveIdOf } from '../../format/archive-info.ts'
import type { Manifest } from '../../format/manifest.ts'
import type { Clock } from '../../util/clock.ts'
import { PgtsError } from '../../util/error.ts'
import type { Logger } from '../../util/log.ts'
import type { Executor } from '../../worker/executor.ts'
import type { jobHandlers } from '../jobs.ts'
import type { Repository } from '../repository.ts'
import type { BackupPieces } from './backup-pieces.ts'
import { repoId } from '../../util/repo-id.ts'

export interface VerifyRequest {
  readonly repository: Repository
  readonly stanza: string
  /** Only this backup, the backups that it depends on, and the WAL that makes it consistent. */
  readonly set?: string
  readonly executor: Executor<typeof jobHandlers>
  readonly provenSinceMs?: number
  readonly deadlineMs?: number
  readonly clock: Clock
  readonly log: Logger
  readonly signal: AbortSignal
  /** Record the commit times of WAL that was archived without them, if the repository can be written to. */
  readonly recordTimes: boolean
  /** Called with the stored bytes that were read, and those that this run reads in total. */
  readonly read?: (doneBytes: number, totalBytes: number) => void
}

/** @throws PgtsError `backup-set-invalid` if the backup of --set is not in the repository */
export function assertSetExists({ repository, stanza, set }: VerifyRequest, backups: readonly KnownBackup[]): void {
  if (set === undefined || backups.some(({ label }) => label === set)) return
  throw new PgtsError('backup-set-invalid', `stanza ${stanza} on ${repoId(repository.key)} has no backup ${set}`, {
    hints: ['run info to see the existing backups'],
  })
}

/** What is verified: everything, or with --set the chain of that backup and its WAL. */
export interface Scope {
  hasBackup(label: string): boolean
  hasWal(archiveId: string, directory: string): boolean
}

export function scopeOf({ set }: VerifyRequest, backups: readonly KnownBackup[]): Scope {
  if (set === undefined) return { hasBackup: () => true, hasWal: () => true }
  const manifest = backups.find(({ label }) => label === set)?.manifest
  const chain = new Set([set, ...(manifest?.references ?? [])])
  const { archiveStart = '', archiveStop = '' } = manifest ?? {}
  const id = manifest === undefined ? '' : archiveIdOf({ id: manifest.db.historyId, version: manifest.db.version })
  return {
    hasBackup: (label) => chain.has(label),
    hasWal: (archiveId, directory) =>
      archiveId === id && directory >= archiveStart.slice(0, 16) && directory <= archiveStop.slice(0, 16),
  }
}

/** A manifest without its list of files. */
export type ManifestHead = Omit<Manifest, 'files'>

export interface KnownBackup {
  readonly label: string
  /** The newest directory, without a manifest: in progress, or the last interrupted backup. */
  readonly inProgress: boolean
  /** Absent: missing, unusable, or of an unfinished backup. */
  readonly manifest?: ManifestHead
  /** What it stores; present if it has a manifest and is to be verified. */
  readonly pieces?: BackupPieces
}
