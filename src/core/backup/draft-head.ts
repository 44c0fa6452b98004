import type { BackupHistory } from '../../format/backup-info.ts'
import type { BackupType, ManifestOptions } from '../../format/manifest.ts'
import type { WalPosition } from '../../postgres/backup-session.ts'
import type { DataDirectoryListing } from '../../postgres/data-directory.ts'
import { textToBytes } from '../../util/byte-string.ts'
import { writerVersion } from '../../util/version.ts'
import type { DraftHead } from './draft.ts'
import type { CopyPolicy } from './plan.ts'

/** The part of a manifest that is known before the first file is copied. Times are seconds since the epoch. */
export function draftHead(known: {
  readonly label: string
  readonly type: BackupType
  /** Label of the prior backup; absent for a full. */
  readonly prior?: string
  /**
   * Block maps refer to backups by their index in this list, so a chain only appends to it. The label of this backup is
   * last.
   */
  readonly references: readonly string[]
  readonly policy: CopyPolicy
  readonly timestampStart: number
  readonly timestampCopyStart: number
  readonly history: BackupHistory
  readonly listing: DataDirectoryListing
  /** Absent for an offline backup. */
  readonly start?: WalPosition
  /** Values as text; empty values are dropped. */
  readonly annotations: ReadonlyMap<string, string>
  readonly options: ManifestOptions
}): DraftHead {
  const { label, history, listing, policy, start } = known
  const annotations = [...known.annotations].filter(([, value]) => value !== '')
  return {
    backrestVersion: writerVersion,
    label,
    type: known.type,
    prior: known.prior,
    references: known.references,
    archiveStart: start?.walFile,
    lsnStart: start?.lsn,
    timestampStart: known.timestampStart,
    timestampCopyStart: known.timestampCopyStart,
    bundle: policy.bundle !== undefined,
    bundleRaw: policy.bundleRaw,
    blockIncremental: policy.blocks !== undefined,
    cipherPass: policy.cipherPass,
    db: {
      historyId: history.id,
      systemId: history.systemId,
      version: history.version,
      catalogVersion: history.catalogVersion,
      controlVersion: history.controlVersion,
    },
    options: known.options,
    targets: listing.targets,
    annotations: new Map(annotations.map(([key, value]) => [textToBytes(key), textToBytes(value)])),
    links: listing.links,
    paths: listing.paths,
  }
}
