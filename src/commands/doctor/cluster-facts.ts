import type { ClusterFacts } from '../../core/doctor/facts.ts'
import { forbids, readCopyMark, type FoundMark } from '../../core/cluster-copy/copy-mark.ts'
import type { ClusterFiles } from '../../postgres/cluster-access.ts'
import { readControlFile } from '../../postgres/control-file.ts'
import { recoveryMode } from '../../postgres/recovery-mode.ts'
import { bytes, type ByteString } from '../../util/byte-string.ts'
import type { CommandContext } from '../context.ts'
import { repositoryPlaces } from '../shared/repository-place.ts'

export async function clusterFacts(ctx: CommandContext<'doctor'>, signal: AbortSignal): Promise<ClusterFacts> {
  const { files, pgPath } = await ctx.cluster()
  const { systemId, version, dataChecksumVersion } = await readControlFile(files, pgPath, { signal })
  // The mark names repositories by the configuration of its host, so there check and backup find it.
  const copy = ctx.options.pg[0]?.host === undefined ? copyMarkOf(ctx, pgPath) : undefined
  return {
    systemId,
    version,
    dataChecksums: dataChecksumVersion !== 0,
    ...(copy === undefined ? {} : { copy }),
    walBytes: await sizeOfWal(files, bytes`${pgPath}/pg_wal`),
  }
}

/** A standby may archive after its promotion, so its mark forbids nothing. */
function copyMarkOf({ stanza, options }: CommandContext<'doctor'>, pgPath: ByteString): FoundMark | undefined {
  const mark = readCopyMark(pgPath)
  const isCopy =
    mark !== undefined && forbids(mark, stanza, repositoryPlaces(options.repo)) && recoveryMode(pgPath) !== 'standby'
  return isCopy ? mark : undefined
}

/** Files that are removed while they are counted are left out. */
async function sizeOfWal(files: ClusterFiles, directory: ByteString): Promise<number> {
  let total = 0
  for (const { sizeBytes } of (await files.list(directory)) ?? []) total += sizeBytes
  return total
}
