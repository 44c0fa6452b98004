import { defaultLevel } from '../../codec/registry.ts'
import { currentHistory } from '../../format/archive-info.ts'
import type { BackupEntry, BackupInfo } from '../../format/backup-info.ts'
import type { BackupType, CompressType, Manifest } from '../../format/manifest.ts'
import type { StorageDriver } from '../../storage/driver.ts'
import { isPgtsError, PgtsError, toPlainError } from '../../util/error.ts'
import type { Logger } from '../../util/log.ts'
import { loadManifest, type LoadOptions, type ManifestKey } from '../info-store.ts'

/** The newest backup that a diff (on a full) or an incr (on anything) of this cluster may build on. */
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
 * The manifest to build on. What it refers to was checked when it was chosen.
 *
 * @throws PgtsError as loadManifest, with the way out as a hint
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
    throw new PgtsError(code, `backup ${label} cannot be built upon: ${message}`, {
      hints: [...hints, 'take a full backup (--type=full), and find out what happened to this one'],
      cause: error,
    })
  }
}

/** What a set of backups shares, so that every file of a chain can be read in one way. */
export interface SetChoices {
  readonly codec: { readonly type: CompressType; readonly level: number }
  readonly checksumPage: boolean
}

/**
 * A diff or incr follows its prior in what a set shares, whatever the options say; each difference is warned about.
 *
 * @param dataChecksums does the cluster have them?
 */
export function followPrior(wanted: SetChoices, prior: Manifest, dataChecksums: boolean, log: Logger): SetChoices {
  const { compressType, compressLevel, checksumPage } = prior.options
  let { codec } = wanted
  if (compressType !== codec.type) {
    log.warn(
      `compress-type ${codec.type} counts from the next full backup: this one continues ${prior.label} and its ${compressType}`,
    )
    codec = { type: compressType, level: compressLevel ?? defaultLevel(compressType) }
  }
  if (checksumPage !== wanted.checksumPage) {
    log.warn(
      `checksum-page is ${wanted.checksumPage ? 'on' : 'off'} now, but this backup continues ${prior.label}, where it is ` +
        `${checksumPage ? 'on' : 'off'}: ${
          checksumPage && !dataChecksums
            ? 'the cluster has no data checksums any more, so pages are not checked'
            : `pages are ${checksumPage ? '' : 'not '}checked until the next full backup`
        }`,
    )
  }
  return { codec, checksumPage: checksumPage && dataChecksums }
}
