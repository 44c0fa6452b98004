import { buildInfo } from '../core/info/build.ts'
import type { InfoReport } from '../core/info/report.ts'
import { parseBackupLabel } from '../format/backup-label.ts'
import { textToBytes } from '../util/byte-string.ts'
import { PgtsError } from '../util/error.ts'
import { readLocks } from '../util/lock.ts'
import { programName } from '../util/program-name.ts'
import type { CommandContext } from './context.ts'

/** The content of the repositories and the running commands. Errors of a repository are part of the report. */
export async function info(ctx: CommandContext<'info'>): Promise<InfoReport> {
  const { options, stanza, signal } = ctx
  const { set, type } = options
  if (set !== undefined && stanza === '') {
    throw new PgtsError('option-invalid', 'option --set requires --stanza')
  }
  if (set !== undefined && options.detailLevel === 'progress') {
    throw new PgtsError('option-invalid', 'set and detail-level=progress cannot be used together')
  }
  if (set !== undefined) parseBackupLabel(set, 'option-invalid-value')
  return buildInfo({
    repos: await ctx.repositories(),
    stanza: stanza === '' ? undefined : textToBytes(stanza),
    set,
    type,
    detail: options.detailLevel,
    windows: programName(ctx.program) === 'pgts',
    drills: programName(ctx.program) === 'pgts',
    locksOf: (name) => readLocks(options.lockPath, name),
    signal,
  })
}
