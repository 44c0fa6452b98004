import { isResident, makeResidentDirectory, writeResidentPid } from '../../core/archive/resident/resident-directory.ts'
import { messageOf } from '../../util/error.ts'
import type { CommandContext, LauncherContext } from '../context.ts'
import { leaveHint } from '../shared/leave-hint.ts'
import { residentPlace, type ResidentCluster, type ResidentPlace } from './place.ts'

/**
 * After a synchronous call that has succeeded: start the resident process if none runs, and write the launch hint, so that
 * the process answers the next calls. A failure costs time only: Node handles the next call, too.
 *
 * @param prepare leaves work for the process
 */
export async function offerResident(
  ctx: CommandContext<'archive-push'> | CommandContext<'archive-get'>,
  launcher: LauncherContext,
  cluster: ResidentCluster,
  prepare: (place: ResidentPlace) => void = () => undefined,
): Promise<void> {
  try {
    const place = residentPlace(ctx, launcher, cluster)
    const { kind, key, spool, directory } = place
    makeResidentDirectory(directory)
    prepare(place)
    if (!isResident(directory, kind)) {
      const { pid } = await launcher.startBackground([key])
      // At once, so that calls wait for the process while it starts.
      writeResidentPid(spool, directory, pid)
    }
    await leaveHint(ctx, launcher, cluster.pgPath, directory, 'resident')
  } catch (error) {
    ctx.log.debug(`no resident process: ${messageOf(error)}`)
  }
}
