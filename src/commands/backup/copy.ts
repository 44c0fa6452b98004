import { bytesToRead, copyAll } from '../../core/backup/copy-all.ts'
import { saveManifestCopy } from '../../core/manifest-store.ts'
import type { jobHandlers } from '../../core/jobs.ts'
import type { ManifestFile } from '../../format/manifest.ts'
import type { Executor } from '../../worker/executor.ts'
import type { StanzaLock } from '../context.ts'
import type { BackupRun } from './begin.ts'
import { warnOfDamagedPages } from './damaged-pages.ts'
import type { PlannedBackup } from './plan.ts'

/** Copy every planned file and record it in the draft. @returns the files with damaged pages */
export async function copy(
  run: BackupRun,
  { backup, files, policy, draft }: PlannedBackup,
  executor: Executor<typeof jobHandlers>,
  lock: StanzaLock,
): Promise<readonly ManifestFile[]> {
  const { ctx, repository, source, started } = run
  const { storage, key } = repository
  const manifestKey = source.backupInfo
  // Until the manifest itself is written, only its copy exists: no command takes this for a usable backup.
  await saveManifestCopy(storage, ctx.stanza, draft.partial(), manifestKey)
  ctx.progress.phase('copying', bytesToRead(files))
  await copyAll(
    {
      storage,
      backup,
      manifestKey,
      files,
      policy,
      executor,
      saveThresholdBytes: ctx.options.manifestSaveThreshold,
      log: ctx.log,
      signal: ctx.signal,
      progress: (progress) => lock.update(progress, key),
      copied: (doneBytes) => ctx.progress.done(doneBytes),
    },
    draft,
  )
  const damaged = draft.damaged()
  await warnOfDamagedPages(ctx, source.cluster, damaged, started?.databases ?? [])
  return damaged
}
