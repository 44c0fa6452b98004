import type { CopyReason, FoundMark } from './copy-mark.ts'
import type { RecordedHost } from './host-records.ts'

/** What is known about a restore before it changes anything. Paths are resolved, as text. */
export interface RestorePlace {
  readonly pgPath: string
  /** Data directory of the original: that of the configuration, else that of the backup. Absent: not known. */
  readonly home?: string
  /** The cluster of the backup is in `pgPath`. */
  readonly hasCluster: boolean
  /** The mark in `pgPath`. */
  readonly mark?: FoundMark
  /** Id of this host. */
  readonly hostId: string
  /** The hosts that archived or backed up the stanza. */
  readonly hosts: readonly RecordedHost[]
}

/**
 * Whether a restored cluster is a copy, which must not archive into the stanza of the original; undefined: it takes the
 * place of the original. A cluster that is restored over itself stays what it is.
 */
export function judgeCopy({ pgPath, home, hasCluster, mark, hostId, hosts }: RestorePlace): CopyReason | undefined {
  if (home !== undefined && home !== pgPath) return { kind: 'path', home }
  if (hasCluster && mark === undefined) return undefined
  if (hosts.length > 0 && !hosts.some(({ id }) => id === hostId)) {
    return { kind: 'host', hosts: hosts.slice(0, MOST_NAMES).map(({ name }) => name) }
  }
  if (mark === undefined) return undefined
  return mark === 'unknown' ? { kind: 'host', hosts: [] } : mark.reason
}

const MOST_NAMES = 3

/** The reason in a message: `restored to another directory than '/var/lib/pg'`. */
export function copyReasonText(reason: CopyReason, host: string): string {
  if (reason.kind === 'path') return `it was restored to another directory than '${reason.home}'`
  const others = reason.hosts.length === 0 ? '' : `, unlike ${reason.hosts.join(', ')}`
  return `it was restored on host ${host}, which never archived this stanza${others}`
}
