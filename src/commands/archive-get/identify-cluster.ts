import { hasCopyMark } from '../../core/cluster-copy/copy-mark-path.ts'
import { isCheckpointInvalidated, readControlFile, type ControlFile } from '../../postgres/control-file.ts'
import { openClusterFiles } from '../../postgres/registry.ts'
import { bytes, textToBytes } from '../../util/byte-string.ts'
import { PgtsError } from '../../util/error.ts'
import { loadModule } from '../../util/load-module.ts'
import type { CommandContext } from '../context.ts'

/**
 * The cluster that WAL is fetched for.
 *
 * @throws PgtsError format when recovery would begin at the wrong position
 */
export async function identifyCluster(
  ctx: CommandContext<'archive-get'>,
  pgPath: string,
  signal: AbortSignal,
): Promise<ControlFile> {
  const files = await openClusterFiles({ kind: 'local', versionForce: ctx.options.pgVersionForce })
  const control = await readControlFile(files, textToBytes(pgPath), { signal })
  if (hasCopyMark(textToBytes(pgPath))) {
    const { allowStandby } = await loadModule(() => import('../../core/cluster-copy/marked-copy.ts'))
    allowStandby(ctx, textToBytes(pgPath))
  }
  if (!isCheckpointInvalidated(control)) return control
  // Restore writes a checkpoint that no archive has, so that only backup_label defines where recovery begins.
  const label = await files.stat(bytes`${textToBytes(pgPath)}/backup_label`)
  if (label !== undefined) return control
  throw new PgtsError('format', `${pgPath} was restored from a backup, but its backup_label is missing`, {
    hints: ['restore again and keep backup_label: without it recovery would begin at the wrong position'],
  })
}
