import { BadValue, parseInteger, parseSize } from '../../config/value.ts'
import type { RepoOptions } from '../../config/resolve.ts'
import { BLOCK_DEFAULTS, BLOCK_UNIT, CHECKSUM_BYTES, type BlockPolicy } from '../../core/backup/block-policy.ts'
import type { BackupType } from '../../format/manifest.ts'
import { PgtsError } from '../../util/error.ts'
import { repoId } from '../../util/repo-id.ts'

/**
 * Settings of repo-block and its maps; undefined if files are stored whole. A map replaces the whole default map.
 *
 * @throws PgtsError option-invalid-value
 */
export function blockPolicyOf(repo: RepoOptions<'backup'>, type: BackupType): BlockPolicy | undefined {
  const superBytes = type === 'full' ? repo.blockSizeSuperFull : repo.blockSizeSuper
  if (!repo.block || superBytes === undefined) return undefined
  const name = (rest: string) => `${repoId(repo.key)}-block-${rest}`
  const sizes = table(name('size-map'), repo.blockSizeMap, (fileSize, blockSize) => ({
    fromFileBytes: parseSize(fileSize),
    blockBytes: multipleOf(BLOCK_UNIT, parseSize(blockSize)),
  }))
  const ages = table(name('age-map'), repo.blockAgeMap, (days, factor) => ({
    fromSeconds: atLeast(0, parseInteger(days)) * 86_400,
    factor: atLeast(0, parseInteger(factor)),
  }))
  const checksums = table(name('checksum-size-map'), repo.blockChecksumSizeMap, (blockSize, checksumSize) => ({
    fromBlockBytes: parseSize(blockSize),
    checksumBytes: between(CHECKSUM_BYTES.least, CHECKSUM_BYTES.most, parseInteger(checksumSize)),
  }))
  return {
    sizes: sizes?.sort((a, b) => b.fromFileBytes - a.fromFileBytes) ?? BLOCK_DEFAULTS.sizes,
    ages: ages?.sort((a, b) => b.fromSeconds - a.fromSeconds) ?? BLOCK_DEFAULTS.ages,
    checksums: checksums?.sort((a, b) => b.fromBlockBytes - a.fromBlockBytes) ?? BLOCK_DEFAULTS.checksums,
    superBytes,
  }
}

function table<T>(
  option: string,
  map: ReadonlyMap<string, string> | undefined,
  row: (key: string, value: string) => T,
): T[] | undefined {
  if (map === undefined) return undefined
  return [...map].map(([key, value]) => {
    try {
      return row(key, value)
    } catch (error) {
      if (!(error instanceof BadValue)) throw error
      throw new PgtsError('option-invalid-value', `${option}: '${key}=${value}' ${error.message}`)
    }
  })
}

function multipleOf(unit: number, value: number): number {
  if (value === 0 || value % unit !== 0) throw new BadValue(`must be a multiple of ${unit / 1024}KiB`)
  return value
}

function atLeast(least: number, value: number): number {
  return between(least, Infinity, value)
}

function between(least: number, most: number, value: number): number {
  if (value < least || value > most)
    throw new BadValue(most === Infinity ? `must be ${least} or more` : `must be ${least} to ${most}`)
  return value
}
