import { bool, choice, field, integer, list, nothing, nullable, optional, record, text } from '../../remote/fields.ts'
import type { Handler } from '../../remote/connection.ts'
import { onCall } from '../../remote/handlers.ts'
import { callVerb } from '../../remote/verb.ts'
import { PgtsError } from '../../util/error.ts'
import { hostPlace } from '../../util/host-place.ts'
import { acquireLocks, assertNotStopped, type Locks } from '../../util/lock.ts'
import { stopFileOf } from '../../util/stop-file.ts'

/** The verbs of the locks and stop files of another host, for connection number 0 of a command. */

export const lockVerb = callVerb(
  'lock',
  record({
    types: field(1, list(choice({ archive: 0, backup: 1, restore: 2 }), 3)),
    repoKeys: field(2, list(integer, 256)),
    /** A stop file prevents the command. */
    stops: field(3, bool),
  }),
  record({
    /** Shows whether two processes use the same flocks. */
    place: field(1, nullable(record({ boot: field(1, text), machine: field(2, text), lockPath: field(3, text) }))),
  }),
)
export const unlockVerb = callVerb('unlock', nothing, nothing)
/** Pending while the locks are held; [063] if the process that holds them is terminated. */
export const heldVerb = callVerb('held', nothing, nothing)
export const progressVerb = callVerb(
  'progress',
  record({
    pctCplt: optional(1, integer),
    sz: optional(2, integer),
    szCplt: optional(3, integer),
    repoKey: optional(4, integer),
  }),
  nothing,
)
/** The path of the stop file that prevents commands of the stanza. */
export const stoppedVerb = callVerb('stopped', nothing, record({ path: field(1, nullable(text)) }))

export interface LockPlace {
  readonly lockPath: string
  readonly stanza: string
  readonly execId: string
  /** Aborted when this process is terminated. */
  readonly signal: AbortSignal
}

/** The locks of one connection; released when it ends. */
export class ServedLocks implements AsyncDisposable {
  readonly #place: LockPlace
  #locks: Locks | undefined
  #release: () => void = () => undefined

  constructor(place: LockPlace) {
    this.#place = place
  }

  get held(): boolean {
    return this.#locks !== undefined
  }

  handlers(): Handler[] {
    const { lockPath, stanza, execId } = this.#place
    return [
      onCall(lockVerb, async ({ types, repoKeys, stops }) => {
        if (this.#locks !== undefined) throw new PgtsError('protocol', 'the locks of this connection are held already')
        this.#locks = await acquireLocks({ lockPath, stanza, types, repoKeys, execId })
        try {
          if (stops) assertNotStopped(lockPath, stanza)
        } catch (error) {
          await this.#unlock()
          throw error
        }
        return { place: hostPlace(lockPath) ?? null }
      }),
      onCall(heldVerb, async (_, { signal }) => {
        await this.#untilReleased(AbortSignal.any([this.#place.signal, signal]))
        return {}
      }),
      onCall(progressVerb, async ({ repoKey, ...progress }) => {
        this.#locks?.update(progress, repoKey)
        return {}
      }),
      onCall(unlockVerb, async () => {
        await this.#unlock()
        return {}
      }),
      onCall(stoppedVerb, async () => ({ path: stopFileOf(lockPath, stanza) ?? null })),
    ]
  }

  #untilReleased(signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const onAbort = () => reject(signal.reason as Error)
      if (signal.aborted) return onAbort()
      signal.addEventListener('abort', onAbort, { once: true })
      this.#release = () => {
        signal.removeEventListener('abort', onAbort)
        resolve()
      }
    })
  }

  async #unlock(): Promise<void> {
    const locks = this.#locks
    this.#locks = undefined
    await locks?.[Symbol.asyncDispose]()
    this.#release()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#unlock()
  }
}
