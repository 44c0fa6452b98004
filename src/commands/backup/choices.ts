import { newPassphrase } from '../../codec/cipher.ts'
import { loadCodec } from '../../codec/registry.ts'
import type { RepoOptions } from '../../config/resolve.ts'
import type { CopyPolicy } from '../../core/backup/plan.ts'
import { choosePrior, followPrior, loadPrior } from '../../core/backup/prior.ts'
import type { Repository } from '../../core/repository.ts'
import type { BackupInfo } from '../../format/backup-info.ts'
import type { BackupType, Manifest } from '../../format/manifest.ts'
import type { ControlFile } from '../../postgres/control-file.ts'
import type { StorageDriver } from '../../storage/driver.ts'
import { PgtsError } from '../../util/error.ts'
import { blockPolicyOf } from './block-options.ts'
import type { CommandContext } from '../context.ts'
import type { BackupSource } from './identify.ts'
import { repoId } from '../../util/repo-id.ts'

export function optionsOf(ctx: CommandContext<'backup'>, { key }: Repository): RepoOptions<'backup'> {
  const found = ctx.options.repo.find((repo) => repo.key === key)
  if (found === undefined) throw new PgtsError('assert', `${repoId(key)} has no options`)
  return found
}

/** The type, the prior and the policy of a backup. The codec is loaded: it may be missing from this installation. */
export async function choose(
  ctx: CommandContext<'backup'>,
  repository: Repository,
  { backupInfo, control }: BackupSource,
): Promise<{ readonly type: BackupType; readonly prior?: Manifest; readonly policy: CopyPolicy }> {
  const { type, prior } = await choosePriorFor(ctx, repository.storage, backupInfo)
  const policy = choosePolicy(ctx, repository, control, type, prior)
  await loadCodec(policy.compression.type)
  return { type, prior, policy }
}

/** The prior backup of a diff or incr. Without one the backup becomes a full, with a warning. */
async function choosePriorFor(
  ctx: CommandContext<'backup'>,
  storage: StorageDriver,
  info: BackupInfo,
): Promise<{ readonly type: BackupType; readonly prior?: Manifest }> {
  const { type } = ctx.options
  if (type === 'full') return { type }
  const entry = choosePrior(info, type)
  if (entry === undefined) {
    ctx.log.warn(`no prior backup exists, ${type} backup has been changed to full`)
    return { type: 'full' }
  }
  const prior = await loadPrior(storage, ctx.stanza, entry.label, info, { log: ctx.log, signal: ctx.signal })
  ctx.log.info(`last backup label = ${prior.label}, version = ${prior.backrestVersion}`)
  return { type, prior }
}

/** The options, overridden by the settings that all backups of one set share. */
function choosePolicy(
  ctx: CommandContext<'backup'>,
  repository: Repository,
  control: ControlFile,
  type: BackupType,
  prior: Manifest | undefined,
): CopyPolicy {
  const { options, log } = ctx
  const repo = optionsOf(ctx, repository)
  const blocks = blockPolicyOf(repo, type)
  const hasChecksums = control.dataChecksumVersion === 1
  const wantsPages = options.checksumPage ?? (options.online && hasChecksums)
  if (wantsPages && !hasChecksums)
    log.warn('checksum-page is on, but the cluster has no data checksums: pages will not be checked')
  const wanted = {
    compression: { type: options.compressType, level: options.compressLevel },
    checksumPage: wantsPages && hasChecksums,
  }
  const { compression, checksumPage } = prior === undefined ? wanted : followPrior(wanted, prior, hasChecksums, log)
  return {
    compression,
    // All files of a set share one passphrase; a full begins a new set.
    cipherPass: repository.cipher === undefined ? undefined : (prior?.cipherPass ?? newPassphrase()),
    pages: checksumPage
      ? { size: control.pageSize, segmentBlocks: control.segmentBlocks, headerCheck: options.pageHeaderCheck }
      : undefined,
    bundleRaw: prior?.bundleRaw ?? blocks !== undefined,
    blocks,
    bundle:
      repo.bundle && repo.bundleSize !== undefined && repo.bundleLimit !== undefined
        ? { sizeBytes: repo.bundleSize, limitBytes: repo.bundleLimit }
        : undefined,
  }
}
