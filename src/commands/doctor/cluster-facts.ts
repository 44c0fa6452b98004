import { readdir, stat } from 'node:fs/promises'
import type { ClusterFacts } from '../../core/doctor/facts.ts'
import { forbids, readCopyMark } from '../../core/cluster-copy/copy-mark.ts'
import { readControlFile } from '../../postgres/control-file.ts'
import { recoveryMode } from '../../postgres/recovery-mode.ts'
import { textPath, textToBytes } from '../../util/byte-string.ts'
import type { CommandContext } from '../context.ts'
import { repositoryPlaces } from '../shared/repository-place.ts'

export async function clusterFacts(
  ctx: CommandContext<'doctor'>,
  pgPath: string,
  signal: AbortSignal,
): Promise<ClusterFacts> {
  const path = textToBytes(pgPath)
  const { files } = await ctx.cluster()
  const { systemId, version, dataChecksumVersion } = await readControlFile(files, path, { signal })
  const mark = readCopyMark(path)
  // A standby may archive after its promotion, so its mark forbids nothing.
  const isCopy =
    mark !== undefined &&
    forbids(mark, ctx.stanza, repositoryPlaces(ctx.options.repo)) &&
    recoveryMode(path) !== 'standby'
  return {
    systemId,
    version,
    dataChecksums: dataChecksumVersion !== 0,
    ...(isCopy ? { copy: mark } : {}),
    walBytes: await sizeOfWal(`${pgPath}/pg_wal`),
  }
}

/** Files that are removed while they are counted are left out. */
async function sizeOfWal(directory: string): Promise<number> {
  let total = 0
  for (const name of await readdir(textPath(directory))) {
    const found = await stat(textPath(`${directory}/${name}`)).catch(() => undefined)
    if (found?.isFile() === true) total += found.size
  }
  return total
}
