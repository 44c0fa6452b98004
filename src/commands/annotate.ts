import { loadBackupInfo, saveBackupInfo } from '../core/backup-info-store.ts'
import { reconcileBackupInfo } from '../core/reconcile.ts'
import type { Repository } from '../core/repository.ts'
import { withBackup } from '../format/backup-info.ts'
import { parseBackupLabel } from '../format/backup-label.ts'
import { textToBytes, type ByteString } from '../util/byte-string.ts'
import { PgtsError } from '../util/error.ts'
import type { CommandContext } from './context.ts'
import { logRepositoryError } from './shared/repository-error.ts'
import { repoId } from '../util/repo-id.ts'

export interface AnnotateReport {
  readonly label: string
  /** Repositories that have the backup and were changed. */
  readonly repoKeys: readonly number[]
}

/** Add, change or remove (empty value) notes of one backup, in every repository that has it, or in that of --repo. */
export async function annotate(ctx: CommandContext<'annotate'>): Promise<AnnotateReport> {
  const { options, stanza, log, signal } = ctx
  const label = parseBackupLabel(options.set, 'option-invalid-value')
  const notes = new Map([...options.annotation].map(([key, value]) => [textToBytes(key), textToBytes(value)]))
  await using _lock = await ctx.lock()
  const repositories = await ctx.repositories()
  const repoKeys: number[] = []
  let failed = 0
  for (const repository of repositories) {
    try {
      if (!(await annotateOne(repository, ctx, label, notes))) continue
      repoKeys.push(repository.key)
      log.info({ repo: repository.key, label }, `backup ${label} is annotated in ${repoId(repository.key)}`)
    } catch (error) {
      signal.throwIfAborted()
      failed++
      logRepositoryError(ctx, repository.key, error)
    }
  }
  if (failed > 0) {
    throw new PgtsError('command', `annotate failed on ${failed} of ${repositories.length} repositories`, {
      hints: ['fix the errors above and run the command again'],
    })
  }
  if (repoKeys.length === 0) {
    throw new PgtsError('backup-set-invalid', `stanza ${stanza} has no backup ${label}`, {
      hints: ['run info to see the existing backups'],
    })
  }
  return { label, repoKeys }
}

/** Each repository is changed separately: it has its own backup.info and its own passphrase. */
async function annotateOne(
  repository: Repository,
  ctx: CommandContext<'annotate'>,
  label: string,
  notes: ReadonlyMap<ByteString, ByteString>,
): Promise<boolean> {
  const { stanza, log, signal } = ctx
  await using _lease = await ctx.lease(repository)
  const listed = await loadBackupInfo(repository, stanza, { signal, log })
  const info = await reconcileBackupInfo(repository.storage, stanza, listed, log, signal)
  const backup = info.backups.find((entry) => entry.label === label)
  if (backup === undefined) return false
  const annotations = new Map(backup.annotations)
  for (const [key, value] of notes) {
    if (value === '') annotations.delete(key)
    else annotations.set(key, value)
  }
  await saveBackupInfo(repository, stanza, withBackup(info, { ...backup, annotations }))
  return true
}
