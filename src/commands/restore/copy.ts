import { copyReasonText, judgeCopy } from '../../core/cluster-copy/judge-copy.ts'
import { readCopyMark, removeCopyMark, writeCopyMark, type CopyMark } from '../../core/cluster-copy/copy-mark.ts'
import { recordedHosts, type RecordedHost } from '../../core/cluster-copy/host-records.ts'
import type { Repository } from '../../core/repository.ts'
import { identifyCluster } from '../../core/restore/check-target.ts'
import { realPath, type OwnerIds } from '../../core/restore/file-system.ts'
import { systemIdReader } from '../../core/restore/prepare.ts'
import type { Manifest } from '../../format/manifest.ts'
import { bytesToText, type ByteString } from '../../util/byte-string.ts'
import { messageOf } from '../../util/error.ts'
import { hostIdentity } from '../../util/host-place.ts'
import { programName } from '../../util/program-name.ts'
import type { CommandContext } from '../context.ts'
import { repositoryPlaces } from '../shared/repository-place.ts'
import { homeOf, warnOfArchiving } from './archive.ts'

type Context = CommandContext<'restore'>

/**
 * Decides, before the restore changes anything, whether the restored cluster is a copy; undefined: it is not. Under the name
 * pgbackrest there are no marks, because its clients restore to new hosts and know no command to allow archiving.
 */
export async function copyMarkFor(
  ctx: Context,
  { repository, original }: { readonly repository: Repository; readonly original: Manifest },
  pgPath: ByteString,
): Promise<CopyMark | undefined> {
  const { options, stanza, clock, log } = ctx
  if (programName(ctx.program) === 'pgbackrest') {
    warnOfArchiving(ctx, original, pgPath)
    return undefined
  }
  if (options.type === 'standby') return undefined
  const archiveMode = ctx.isSet('archive-mode') ? options.archiveMode : undefined
  const host = hostIdentity()
  const home = homeOf(ctx, original)
  const reason = judgeCopy({
    pgPath: bytesToText(realPath(pgPath)),
    home: home === undefined ? undefined : bytesToText(realPath(home)),
    hasCluster: holdsCluster(pgPath, original.db.systemId, options.pgVersionForce),
    mark: readCopyMark(pgPath),
    hostId: host.id,
    hosts: await hostsOf(ctx, repository),
  })
  if (reason === undefined) return undefined
  const why = copyReasonText(reason, host.name)
  if (archiveMode === 'preserve') {
    log.info(`the restored cluster may archive into stanza ${stanza}, by archive-mode=preserve, although ${why}`)
    return undefined
  }
  const allow = `if it replaces the original, run: pgts --stanza=${stanza} archive-allow`
  // The operator has said that it does not archive.
  if (archiveMode === 'off')
    log.info(
      `the restored cluster is a copy with archive_mode = off, and stays one if archive_mode is changed: ${why}\nHINT: ${allow}`,
    )
  else
    log.warn(
      [
        `the restored cluster is a copy and cannot archive into stanza ${stanza}: ${why}`,
        `HINT: ${allow}`,
        'HINT: else set archive_mode = off, or give it a stanza of its own',
      ].join('\n'),
    )
  const places = repositoryPlaces(options.repo)
  return { stanza, places, label: original.label, reason, host: host.name, restoredMs: clock.nowMs() }
}

/** Writes the mark, or removes that of an earlier restore. */
export function applyCopyMark(
  pgPath: ByteString,
  mark: CopyMark | undefined,
  own: { readonly mode: number; readonly owner: OwnerIds | undefined },
): void {
  if (mark === undefined) removeCopyMark(pgPath)
  else writeCopyMark(pgPath, mark, own)
}

/** A directory that cannot be read is refused later, with the reason. */
function holdsCluster(pgPath: ByteString, systemId: bigint, versionForce: string | undefined): boolean {
  try {
    return identifyCluster(pgPath, systemIdReader({ versionForce })) === systemId
  } catch {
    return false
  }
}

async function hostsOf(ctx: Context, repository: Repository): Promise<readonly RecordedHost[]> {
  try {
    return await recordedHosts(repository.storage, ctx.stanza, hostIdentity(), ctx.signal)
  } catch (error) {
    ctx.signal.throwIfAborted()
    ctx.log.detail(`cannot read which hosts archived stanza ${ctx.stanza}: ${messageOf(error)}`)
    return []
  }
}
