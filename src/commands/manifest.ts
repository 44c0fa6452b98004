import { loadBackupInfo } from '../core/backup-info-store.ts'
import { loadManifest } from '../core/manifest-store.ts'
import { blocksOf } from '../core/manifest/blocks.ts'
import { chooseFiles, type ListedFile, type ManifestReport } from '../core/manifest/report.ts'
import { parseBackupLabel } from '../format/backup-label.ts'
import { textToBytes } from '../util/byte-string.ts'
import { PgtsError } from '../util/error.ts'
import type { CommandContext } from './context.ts'
import { oneRepository } from './shared/one-repository.ts'
import { repoId } from '../util/repo-id.ts'

/** Every file of one backup: where and how it is stored. With --filter one file with its blocks. */
export async function manifest(ctx: CommandContext<'manifest'>): Promise<ManifestReport> {
  const { options, stanza, log, signal } = ctx
  const { filter, reference, set } = options
  if (set !== 'latest') parseBackupLabel(set, 'option-invalid-value')
  const repository = await oneRepository(ctx)
  const { storage, key } = repository
  const info = await loadBackupInfo(repository, stanza, { signal, log })
  const label = set === 'latest' ? info.backups.at(-1)?.label : set
  if (label === undefined) throw new PgtsError('backup-set-invalid', `stanza ${stanza} has no backup in ${repoId(key)}`)
  const found = await loadManifest(storage, stanza, label, info, { signal, log })

  const chosen = chooseFiles(found, {
    name: filter === undefined ? undefined : textToBytes(filter),
    reference,
  })
  if (filter !== undefined && chosen.length === 0) {
    throw new PgtsError('file-missing', `backup ${label} has no file ${filter}`, {
      hints: ['set filter to the whole name in the manifest, for example pg_data/PG_VERSION'],
    })
  }
  const files: ListedFile[] = []
  for (const file of chosen) {
    const blocks = filter === undefined ? undefined : await blocksOf(storage, stanza, found, file, signal)
    files.push(blocks === undefined ? { file } : { file, blocks })
  }
  return {
    label,
    references: found.references,
    type: found.type,
    timestampStart: found.timestampStart,
    timestampCopyStart: found.timestampCopyStart,
    timestampStop: found.timestampStop,
    bundle: found.bundle,
    bundleRaw: found.bundleRaw,
    block: found.blockIncremental,
    files,
  }
}
