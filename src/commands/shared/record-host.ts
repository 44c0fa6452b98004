import { recordHost } from '../../core/cluster-copy/host-records.ts'
import type { Repository } from '../../core/repository.ts'
import { hostIdentity } from '../../util/host-place.ts'
import type { CommandContext } from '../context.ts'

/**
 * Records in the repositories that a host archives the stanza, so that a restore on it leaves no copy.
 *
 * @param host default: this host
 */
export async function recordArchivingHost(
  { stanza, clock, log, signal }: CommandContext<'archive-allow' | 'archive-push' | 'backup'>,
  repositories: readonly Repository[],
  host = hostIdentity(),
): Promise<void> {
  const nowMs = clock.nowMs()
  await Promise.all(repositories.map(({ storage }) => recordHost({ storage, stanza, host, nowMs, log, signal })))
}
