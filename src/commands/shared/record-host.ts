import { recordHost } from '../../core/cluster-copy/host-records.ts'
import type { Repository } from '../../core/repository.ts'
import { hostIdentity } from '../../util/host-place.ts'
import type { CommandContext } from '../context.ts'

/** Records in the repositories that this host archives the stanza, so that a restore on this host leaves no copy. */
export async function recordThisHost(
  { stanza, clock, log, signal }: CommandContext<'archive-allow' | 'archive-push' | 'backup'>,
  repositories: readonly Repository[],
): Promise<void> {
  const host = hostIdentity()
  const nowMs = clock.nowMs()
  await Promise.all(repositories.map(({ storage }) => recordHost({ storage, stanza, host, nowMs, log, signal })))
}
