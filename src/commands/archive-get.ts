import { getWal, type GetReport } from '../core/archive/get.ts'
import { isCheckpointInvalidated, readControlFile } from '../postgres/control-file.ts'
import { bytesToText, textToBytes } from '../util/byte-string.ts'
import { PgtsError } from '../util/error.ts'
import type { CommandContext } from './context.ts'
import { resolveWalPath } from './wal-path.ts'

/**
 * Bring one WAL file back: what `restore_command = 'pgts --stanza=main archive-get %f "%p"'` does. `found: false` makes
 * the exit code 1, which tells PostgreSQL that the archive ends here.
 */
export async function archiveGet(ctx: CommandContext<'archive-get'>): Promise<GetReport> {
  const { options, log, signal } = ctx
  const [file, target, ...more] = ctx.parameters
  if (file === undefined || target === undefined || more.length > 0) {
    throw new PgtsError('param-required', 'archive-get needs the name of a WAL file and the path to write it to', {
      hints: ['restore_command = \'pgts --stanza=NAME archive-get %f "%p"\''],
    })
  }
  const pgPath = options.pg[0]?.path
  if (pgPath === undefined) {
    throw new PgtsError('option-required', 'archive-get needs pg1-path to know which cluster the WAL is for')
  }
  const destination = await resolveWalPath('archive-get', target, pgPath, ctx.cwd)
  const files = await ctx.cluster()
  const control = await readControlFile(files, textToBytes(pgPath), { signal })
  if (isCheckpointInvalidated(control)) {
    // Restore leaves a checkpoint that no archive has, so that nothing but backup_label can say where recovery begins.
    const label = await files.stat(`${textToBytes(pgPath)}/backup_label`)
    if (label === undefined) {
      throw new PgtsError('format', `${pgPath} was restored from a backup, but its backup_label is missing`, {
        hints: [
          'was backup_label removed? Without it recovery would begin in the wrong place: restore again and keep it',
        ],
      })
    }
  }

  const report = await getWal({
    stanza: ctx.stanza,
    file: textToBytes(file),
    destination,
    identity: control,
    repositories: await ctx.repositories(),
    log,
    signal,
  })
  if (report.found) {
    log.info({ file, repo: report.repoKey }, `found ${file} in the repo${report.repoKey}: ${report.archiveId} archive`)
    log.detail({ file }, `${bytesToText(report.repoName)} was written to ${bytesToText(destination)}`)
  } else {
    log.info({ file }, `unable to find ${file} in the archive`)
  }
  return report
}
