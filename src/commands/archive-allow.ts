import { readCopyMark, removeCopyMark } from '../core/cluster-copy/copy-mark.ts'
import { copyReasonText } from '../core/cluster-copy/judge-copy.ts'
import { statEntry } from '../core/restore/file-system.ts'
import { bytes, textToBytes } from '../util/byte-string.ts'
import { PgtsError } from '../util/error.ts'
import type { CommandContext } from './context.ts'
import { recordArchivingHost } from './shared/record-host.ts'

export interface ArchiveAllowReport {
  readonly stanza: string
  readonly pgPath: string
  /** False if the cluster was not marked as a copy. */
  readonly changed: boolean
  /** Why the cluster was a copy. */
  readonly reason?: string
}

/**
 * The operator declares that a restored cluster replaces the original: it may archive into the stanza, and later
 * restores on this host leave no copy.
 */
export async function archiveAllow(ctx: CommandContext<'archive-allow'>): Promise<ArchiveAllowReport> {
  const { options, stanza, log } = ctx
  const pgPath = options.pg[0]?.path
  if (pgPath === undefined) {
    throw new PgtsError('option-required', 'archive-allow requires pg1-path, the directory of the restored cluster')
  }
  const directory = textToBytes(pgPath)
  if (statEntry(bytes`${directory}/PG_VERSION`) === undefined) {
    throw new PgtsError('path-missing', `${pgPath} is not the data directory of a cluster`, {
      hints: ['check pg1-path, and run this on the host of the restored cluster'],
    })
  }
  // The record first: with it and without the mark a later restore in this directory is in place.
  await recordArchivingHost(ctx, await ctx.repositories())
  const mark = readCopyMark(directory)
  const changed = removeCopyMark(directory)
  const reason = mark === undefined || mark === 'unknown' ? undefined : copyReasonText(mark.reason, mark.host)
  log.info(
    changed
      ? `the cluster in ${pgPath} may archive into stanza ${stanza}`
      : `the cluster in ${pgPath} is not marked as a copy: nothing to do`,
  )
  return { stanza, pgPath, changed, ...(reason === undefined ? {} : { reason }) }
}
