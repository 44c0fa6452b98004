import { countFiles, describePageErrors, listFiles } from '../../core/backup/page-errors.ts'
import type { RestorePlan } from '../../core/restore/plan.ts'
import type { ManifestFile } from '../../format/manifest.ts'
import { PgtsError } from '../../util/error.ts'
import type { CommandContext } from '../context.ts'
import type { Problems } from './problems.ts'

/**
 * Files of the plan whose pages had invalid checksums when they were backed up: a refusal with checksum-page-error, else
 * a warning for each. Nothing has been changed yet, unlike in pgBackRest, which stops at the first such file.
 *
 * @returns these files
 */
export function checkDamagedPages(
  ctx: CommandContext<'restore'>,
  label: string,
  plan: RestorePlan,
  problems: Problems,
): readonly ManifestFile[] {
  const files: ManifestFile[] = []
  for (const { file, action } of plan.files)
    if (file.checksumPage === false && action !== 'zero' && action !== 'keep') files.push(file)
  if (files.length === 0) return files
  if (!ctx.options.checksumPageError) {
    for (const file of files) problems.warn(describePageErrors({ file }))
    return files
  }
  problems.check(() => {
    throw new PgtsError('checksum', `backup ${label} contains invalid page checksums in ${listFiles(files)}`, {
      hints: [
        'restore a backup that info does not mark with errors, and recover from it',
        'or use --no-checksum-page-error to restore the files as they are',
      ],
    })
  })
  return files
}

/** The total at the end of a restore. */
export function warnOfDamagedTotal(ctx: CommandContext<'restore'>, files: readonly ManifestFile[]): void {
  if (files.length > 0) ctx.log.warn(`${countFiles(files)} in the restored cluster`)
}
