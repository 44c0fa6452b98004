import { archiveLayout } from '../../core/info/archive-range.ts'
import type { Repository } from '../../core/repository.ts'
import type { WindowFacts } from '../../core/window/compute.ts'
import { windowFacts, windowLimits } from '../../core/window/read.ts'
import type { BackupEntry } from '../../format/backup-info.ts'
import { messageOf } from '../../util/error.ts'
import { programName } from '../../util/program-name.ts'
import type { CommandContext } from '../context.ts'

export interface CommitsRequest {
  /** `15-1` */
  readonly archiveId: string
  /** Passphrase of the archive; absent: the repository is not encrypted. */
  readonly cipherPass?: string
  /** All backups of the cluster. */
  readonly backups: readonly BackupEntry[]
  /** On which recovery ends. */
  readonly timeline: number
}

/** What is recorded about commit times; undefined: nothing, or it cannot be read. Under the name pgbackrest nothing is read. */
export async function commitFacts(
  { stanza, program, log, signal }: CommandContext<'restore'>,
  { storage }: Repository,
  { cipherPass, archiveId, ...request }: CommitsRequest,
): Promise<WindowFacts | undefined> {
  if (programName(program) === 'pgbackrest') return undefined
  try {
    const layout = await archiveLayout(storage, stanza, archiveId, signal)
    return await windowFacts({
      ...{ storage, stanza, archiveId, layout, signal, ...request },
      ...(cipherPass === undefined ? {} : { cipherPass }),
      ...windowLimits(storage),
    })
  } catch (error) {
    signal.throwIfAborted()
    log.detail(`cannot read the recorded commit times: ${messageOf(error)}`)
    return undefined
  }
}
