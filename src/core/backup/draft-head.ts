import type { BackupHistory } from '../../format/backup-info.ts'
import type { BackupType, ManifestOptions } from '../../format/manifest.ts'
import type { WalPosition } from '../../postgres/backup-session.ts'
import type { DataDirectoryListing } from '../../postgres/data-directory.ts'
import { textToBytes } from '../../util/byte-string.ts'
import { writerVersion } from '../../util/version.ts'
import type { DraftHead } from './draft.ts'

/** Everything of a manifest that is known before the first file is copied. Times are seconds since the epoch. */
export function draftHead(known: {
  readonly label: string
  readonly type: BackupType
  readonly timestampStart: number
  readonly timestampCopyStart: number
  readonly history: BackupHistory
  readonly listing: DataDirectoryListing
  /** Absent for an offline backup. */
  readonly start?: WalPosition
  /** Passphrase of the files of this backup set; absent: the repository is not encrypted. */
  readonly cipherPass?: string | undefined
  /** As text; empty values are dropped. */
  readonly annotations: ReadonlyMap<string, string>
  readonly options: ManifestOptions
}): DraftHead {
  const { label, history, listing, start } = known
  const annotations = [...known.annotations].filter(([, value]) => value !== '')
  return {
    backrestVersion: writerVersion,
    label,
    type: known.type,
    references: [label],
    ...(start === undefined ? {} : { archiveStart: start.walFile, lsnStart: start.lsn }),
    timestampStart: known.timestampStart,
    timestampCopyStart: known.timestampCopyStart,
    bundle: false,
    bundleRaw: false,
    blockIncremental: false,
    db: {
      historyId: history.id,
      systemId: history.systemId,
      version: history.version,
      catalogVersion: history.catalogVersion,
      controlVersion: history.controlVersion,
    },
    options: known.options,
    ...(known.cipherPass === undefined ? {} : { cipherPass: known.cipherPass }),
    targets: listing.targets,
    annotations: new Map(annotations.map(([key, value]) => [textToBytes(key), textToBytes(value)])),
    links: listing.links,
    paths: listing.paths,
  }
}
