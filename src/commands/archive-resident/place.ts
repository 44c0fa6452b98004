import { createHash } from 'node:crypto'
import { residentDirectory, type ResidentKind } from '../../core/archive/resident/resident-directory.ts'
import { prepareSpool, spoolPaths, type SpoolPaths } from '../../core/archive/spool/spool-files.ts'
import { spoolOwner } from '../../core/archive/spool/spool-owner.ts'
import type { ByteString } from '../../util/byte-string.ts'
import { pgtsVersion } from '../../util/version.ts'
import { pushTargets } from '../archive-push/targets.ts'
import type { CommandContext, LauncherContext } from '../context.ts'

export interface ResidentPlace {
  readonly kind: ResidentKind
  readonly key: string
  readonly spool: SpoolPaths
  readonly directory: ByteString
}

export interface ResidentCluster {
  readonly systemId: bigint
  /** pg1-path. */
  readonly pgPath: string
}

/**
 * Where the resident process of these options is. Its key contains everything that determines what a call does, but no
 * secret: a process with another password fails, and Node handles the call.
 *
 * @throws PgtsError path-create when the spool cannot be used
 */
export function residentPlace(
  ctx: CommandContext<'archive-push'> | CommandContext<'archive-get'>,
  launcher: LauncherContext,
  { systemId, pgPath }: ResidentCluster,
): ResidentPlace {
  const { command, options, stanza, program } = ctx
  const kind = command === 'archive-push' ? 'push' : 'get'
  const spool = spoolPaths(options.spoolPath ?? '', stanza)
  prepareSpool(spool)
  const owner = spoolOwner(systemId, pgPath)
  const hash = createHash('sha256')
  for (const part of [pgtsVersion, program, systemId, owner.pgPath, owner.bootId, launcher.settings, pushTargets(ctx)])
    hash.update(`${part}\0`)
  const key = hash.digest('hex').slice(0, 32)
  return { kind, key, spool, directory: residentDirectory(spool, kind, key) }
}
