import type { PushReport } from '../../core/archive/push/push-wal.ts'
import type { Repository } from '../../core/repository.ts'
import { loadModule } from '../../util/load-module.ts'
import type { CommandContext } from '../context.ts'

/** Records commit times of an archived segment. Called after success is reported: a failure is not one of archive-push. */
export async function recordTimes(
  { stanza, log, signal }: CommandContext<'archive-push'>,
  repositories: readonly Repository[],
  { scanned, repositories: stored }: PushReport,
): Promise<void> {
  if (scanned === undefined) return
  const { recordSegments } = await loadModule(() => import('../../core/window/record.ts'))
  await Promise.all(
    stored.map(({ repoKey, archiveId }) => {
      const repository = repositories.find(({ key }) => key === repoKey)!
      return recordSegments({ repository, stanza, archiveId, scanned: [scanned], log, signal })
    }),
  )
}
