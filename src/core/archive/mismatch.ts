import { PgtsError } from '../../util/error.ts'
import { describeCluster, type ClusterIdentity } from './find.ts'

/** `what` was written by another cluster than the one that `stanza` is for. */
export function mismatch(what: string, stanza: string, identity: ClusterIdentity): PgtsError {
  return new PgtsError(
    'archive-mismatch',
    `${what} does not belong to stanza ${stanza} (${describeCluster(identity)})`,
    {
      hints: [
        'is archive_command pointing to the right stanza?',
        'was the cluster created anew, or upgraded? Then the stanza must be upgraded too (pgbackrest stanza-upgrade)',
      ],
    },
  )
}
