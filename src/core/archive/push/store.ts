import type { Stage } from '../../../codec/stage.ts'
import { archiveFileName } from '../../../format/repo-path.ts'
import type { PendingFile } from '../../../storage/driver.ts'
import type { ByteSink } from '../../../util/bytes.ts'
import { loadModule } from '../../../util/load-module.ts'
import type { Repository } from '../../repository.ts'
import type { ClusterIdentity } from '../find.ts'
import type { RepositoryFailures } from '../repository-failures.ts'
import type { WalFile } from '../wal-file.ts'

/** The archive of this cluster in one repository. */
export interface PushTarget {
  readonly repository: Repository
  /** `15-1`: its current one. */
  readonly archiveId: string
  /** Passphrase of the archive; absent: the repository is not encrypted. */
  readonly cipherPass?: string
  readonly identity: ClusterIdentity
}

export interface StoreRequest {
  readonly stanza: string
  readonly targets: readonly PushTarget[]
  /** Name in the archive, checksum and ending included. */
  readonly storedName: string
  readonly file: WalFile
  readonly stages: () => Stage[]
  readonly signal: AbortSignal
}

/** Read and compress once, encrypt for each, write to all. Returns the repositories that have the file; failures are recorded. */
export async function storeEverywhere(request: StoreRequest, failures: RepositoryFailures): Promise<PushTarget[]> {
  const { signal, stanza, targets, storedName, file, stages } = request
  const { pump } = await loadModule(() => import('../../../codec/pump.ts'))
  const open = new Map<PushTarget, { readonly pending: PendingFile; readonly sink: ClosingSink }>()
  const opened: PendingFile[] = []
  const giveUp = (target: PushTarget, error: unknown): void => {
    signal.throwIfAborted()
    open.delete(target)
    failures.add(target.repository.key, error)
  }
  try {
    await atOnce(targets, async (target) => {
      try {
        const pending = await target.repository.storage.create(archiveFileName(stanza, target.archiveId, storedName), {
          signal,
        })
        opened.push(pending)
        open.set(target, { pending, sink: await sinkOf(target, pending) })
      } catch (error) {
        giveUp(target, error)
      }
    })
    if (open.size === 0) return []
    const write = (chunk: Uint8Array): void | Promise<void> => {
      const waiting: Promise<void>[] = []
      for (const [target, { sink }] of open) {
        try {
          const answer = sink.write(chunk)
          if (answer !== undefined) waiting.push(answer.catch((error: unknown) => giveUp(target, error)))
        } catch (error) {
          giveUp(target, error)
        }
      }
      if (waiting.length > 0) return Promise.all(waiting).then(() => undefined)
    }
    await pump(await file.open(), stages(), { write }, signal)
    await atOnce([...open], async ([target, { pending, sink }]) => {
      try {
        await sink.finish?.()
        await pending.commit()
      } catch (error) {
        giveUp(target, error)
      }
    })
    return [...open.keys()]
  } finally {
    await atOnce(opened, async (pending) => pending[Symbol.asyncDispose]())
  }
}

/** All at once; throws the first error after all have ended. */
async function atOnce<T>(items: readonly T[], work: (item: T) => Promise<void>): Promise<void> {
  const ends = await Promise.allSettled(items.map(work))
  for (const end of ends) if (end.status === 'rejected') throw end.reason
}

/** `finish` writes what a filter still holds. */
type ClosingSink = ByteSink & { finish?(): void | Promise<void> }

async function sinkOf({ cipherPass }: PushTarget, pending: PendingFile): Promise<ClosingSink> {
  if (cipherPass === undefined) return pending.sink
  const { encryptingSink } = await loadModule(() => import('../../../codec/cipher.ts'))
  return encryptingSink(pending.sink, cipherPass)
}
