import type { StanzaLock } from '../commands/context.ts'
import { commandRow, type CommandName } from '../config/command-table.ts'
import type { AnyResolved } from '../config/resolve.ts'
import type { HostPlace } from '../core/lease/lease-file.ts'
import type { Repository } from '../core/repository.ts'
import type { RemoteLocks } from '../core/serve/remote-locks.ts'
import { loadModule } from '../util/load-module.ts'
import { execId } from './exec-id.ts'

interface LockedRun {
  /** The repositories that the command uses. */
  readonly repos: readonly { readonly key: number; readonly host?: string | undefined }[]
  repositories(): Promise<readonly Repository[]>
  readonly signal: AbortSignal
  readonly onLost: (reason: unknown) => void
}

/** The locks and stop files of one command, on this host and on the hosts of its repositories. */
export class CommandLocks {
  readonly #command: CommandName
  readonly #stanza: string
  readonly #lockPath: string
  readonly #execId: string | undefined
  readonly #run: LockedRun
  readonly #isDistant: boolean
  #there: RemoteLocks | undefined

  constructor({ command, options }: AnyResolved, run: LockedRun) {
    this.#command = command
    this.#stanza = options.stanza ?? ''
    this.#lockPath = options.lockPath ?? ''
    this.#execId = options.execId
    this.#run = run
    this.#isDistant = run.repos.some(({ host }) => host !== undefined)
  }

  /** The repository host first, then this one: of two commands that start at the same time, one gets all locks. */
  async take(): Promise<StanzaLock> {
    const there = (this.#there = await this.#takeThere())
    try {
      const here = await this.#takeHere()
      if (there === undefined) return here
      return {
        update: (progress, repoKey) => {
          there.update(progress, repoKey)
          here.update(progress, repoKey)
        },
        [Symbol.asyncDispose]: async () => {
          await here[Symbol.asyncDispose]()
          await there[Symbol.asyncDispose]()
        },
      }
    } catch (error) {
      await there?.[Symbol.asyncDispose]()
      throw error
    }
  }

  /** [062] if a stop file for this stanza or for all exists, on this host or on that of a repository. */
  async refuseWhenStopped(): Promise<void> {
    const { repositories, signal } = this.#run
    const { assertNotStopped } = await loadModule(() => import('../util/stop-file.ts'))
    assertNotStopped(this.#lockPath, this.#stanza)
    if (!this.#isDistant) return
    const { assertHostsNotStopped } = await loadModule(() => import('../core/serve/remote-locks.ts'))
    await assertHostsNotStopped(await repositories(), signal)
  }

  /** Where the locks of a repository are, for its lease. */
  async placeOf({ key, host }: Repository): Promise<HostPlace | undefined> {
    if (host !== undefined) return this.#there?.placeOf(key)
    const { hostPlace } = await loadModule(() => import('../util/host-place.ts'))
    return hostPlace(this.#lockPath)
  }

  async #takeThere(): Promise<RemoteLocks | undefined> {
    const { repositories, signal, onLost } = this.#run
    const { locks: types = [], locksHere = false, stops = false } = commandRow(this.#command)
    if (!this.#isDistant || locksHere || types.length === 0) return undefined
    const { lockHosts } = await loadModule(() => import('../core/serve/remote-locks.ts'))
    return lockHosts(await repositories(), { types, stops, signal, onLost })
  }

  async #takeHere(): Promise<StanzaLock> {
    const [lockPath, stanza] = [this.#lockPath, this.#stanza]
    const { acquireLocks, assertNotStopped } = await loadModule(() => import('../util/lock.ts'))
    const { locks: types = [], stops = false } = commandRow(this.#command)
    const repoKeys = this.#run.repos.map(({ key }) => key)
    const locks = await acquireLocks({ lockPath, stanza, types, repoKeys, execId: this.#execId ?? execId() })
    try {
      if (stops) assertNotStopped(lockPath, stanza)
      return locks
    } catch (error) {
      await locks[Symbol.asyncDispose]()
      throw error
    }
  }
}
