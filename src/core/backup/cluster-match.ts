import type { BackupHistory } from '../../format/backup-info.ts'
import type { ControlFile } from '../../postgres/control-file.ts'
import { PgtsError } from '../../util/error.ts'

/** [051] unless the cluster is the one that the stanza was made for. */
export function assertSameCluster(stanza: string, expected: BackupHistory, control: ControlFile): void {
  if (control.systemId === expected.systemId && control.version === expected.version) return
  throw new PgtsError(
    'backup-mismatch',
    `the cluster is version ${control.version}, system identifier ${control.systemId}, but stanza ${stanza} ` +
      `belongs to version ${expected.version}, system identifier ${expected.systemId}`,
    {
      hints: [
        'is this the right stanza for this cluster? compare pg1-path',
        'after pg_upgrade, run stanza-upgrade before the next backup',
      ],
    },
  )
}
