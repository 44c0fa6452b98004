import { defaultLevel } from '../../codec/registry.ts'
import { currentHistory } from '../../format/archive-info.ts'
import type { BackupEntry, BackupInfo } from '../../format/backup-info.ts'
import type { BackupType, Manifest } from '../../format/manifest.ts'
import type { Compression } from '../../util/compress-type.ts'
import type { StorageDriver } from '../../storage/driver.ts'
import { isPgtsError, PgtsError, toPlainError } from '../../util/error.ts'
import type { Logger } from '../../util/log.ts'
import type { ManifestKey } from '../info-cipher.ts'
import type { LoadOptions } from '../info-pair.ts'
import { loadManifest } from '../manifest-store.ts'

/** The newest backup of this cluster that a diff (a full) or an incr (any type) can build on. */
export function choosePrior(info: BackupInfo, type: BackupType): BackupEntry | undefined {
  if (type === 'full') return undefined
  const { id } = currentHistory(info)
  const listed = new Set(info.backups.map(({ label }) => label))
  return info.backups
    .filter((entry) => entry.historyId === id && (type === 'incr' || entry.type === 'full'))
    .filter((entry) => (entry.references ?? []).every((label) => listed.has(label)))
    .at(-1)
}

/**
 * Loads the manifest of the prior backup. Its references were checked when it was chosen.
 *
 * @throws PgtsError as loadManifest, with a hint to take a full backup
 */
export async function loadPrior(
  storage: StorageDriver,
  stanza: string,
  label: string,
  key: ManifestKey,
  options: LoadOptions,
): Promise<Manifest> {
  try {
    return await loadManifest(storage, stanza, label, key, options)
  } catch (error) {
    if (!isPgtsError(error)) throw error
    const { code, message, hints } = toPlainError(error)
    throw new PgtsError(code, `cannot use backup ${label} as the prior backup: ${message}`, {
      hints: [...hints, 'take a full backup (--type=full), and check the repository with verify'],
      cause: error,
    })
  }
}

/** Settings that are the same for all backups of a set, so that every file of a chain can be read in the same way. */
export interface SetChoices {
  readonly compression: Compression
  readonly checksumPage: boolean
}

/**
 * A diff or incr uses the settings of its prior backup, whatever the options are; each difference is logged as a
 * warning.
 *
 * @param dataChecksums true if the cluster has data checksums
 */
export function followPrior(wanted: SetChoices, prior: Manifest, dataChecksums: boolean, log: Logger): SetChoices {
  const { compressType, compressLevel, checksumPage } = prior.options
  let { compression } = wanted
  if (compressType !== compression.type) {
    log.warn(
      `compress-type ${compression.type} is used from the next full backup on: this backup builds on ${prior.label} and uses ${compressType}`,
    )
    compression = { type: compressType, level: compressLevel ?? defaultLevel(compressType) }
  }
  if (checksumPage !== wanted.checksumPage) {
    log.warn(
      `checksum-page is ${wanted.checksumPage ? 'on' : 'off'} now, but this backup builds on ${prior.label}, where it is ` +
        `${checksumPage ? 'on' : 'off'}: ${
          checksumPage && !dataChecksums
            ? 'the cluster no longer has data checksums, so pages are not checked'
            : `pages are ${checksumPage ? '' : 'not '}checked until the next full backup`
        }`,
    )
  }
  return { compression, checksumPage: checksumPage && dataChecksums }
}
