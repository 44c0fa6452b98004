import type { Connection } from '../../remote/connection.ts'
import { PgtsError } from '../../util/error.ts'
import type { HostPlace } from '../lease/lease-file.ts'
import type { LockProgress, LockType } from '../../util/lock-file.ts'
import { markHandled } from '../../util/mark-handled.ts'
import type { Repository } from '../repository.ts'
import { heldVerb, lockVerb, progressVerb, stoppedVerb, unlockVerb } from './lock-verbs.ts'

export interface RemoteLockRequest {
  readonly types: readonly LockType[]
  readonly stops: boolean
  readonly signal: AbortSignal
  /** The locks are lost: their process was terminated, or the connection has ended. */
  readonly onLost: (reason: unknown) => void
}

/** Locks on the hosts of repositories. */
export interface RemoteLocks extends AsyncDisposable {
  /** Where the locks of this repository are; undefined: on this host, or unknown. */
  placeOf(key: number): HostPlace | undefined
  update(progress: LockProgress, repoKey?: number): void
}

/** Takes the locks of a command on the host of each repository that is on another one: all or none. */
export async function lockHosts(repositories: readonly Repository[], request: RemoteLockRequest): Promise<RemoteLocks> {
  const held: { readonly key: number; readonly lock: HostLock }[] = []
  const release = async () => {
    for (const { lock } of held) await lock[Symbol.asyncDispose]()
  }
  try {
    for (const { key, host } of repositories) {
      if (host === undefined) continue
      held.push({ key, lock: await lockHost(host.connection, { ...request, repoKeys: [key] }) })
    }
  } catch (error) {
    await release()
    throw error
  }
  return {
    placeOf: (key) => held.find((one) => one.key === key)?.lock.place,
    update: (progress, repoKey) => {
      for (const { key, lock } of held) if (repoKey === undefined || key === repoKey) lock.update(progress)
    },
    [Symbol.asyncDispose]: release,
  }
}

/** Locks of one other host, held by the process that serves the connection. */
export interface HostLock extends AsyncDisposable {
  readonly place: HostPlace | undefined
  update(progress: LockProgress): void
}

/** @throws PgtsError lock-acquire; stop if a stop file there prevents the command */
export async function lockHost(
  connection: Connection,
  { types, repoKeys, stops, signal, onLost }: RemoteLockRequest & { readonly repoKeys: readonly number[] },
): Promise<HostLock> {
  const locking = connection.call(lockVerb, { types, repoKeys, stops }, { signal })
  const released = new AbortController()
  // Requested at the same time: the process there may be terminated as soon as it has the locks.
  connection.call(heldVerb, {}, { signal: released.signal }).catch((error: unknown) => {
    if (!released.signal.aborted) onLost(error)
  })
  const place = await locking.then(
    (answer) => answer.place ?? undefined,
    (error: unknown) => {
      released.abort()
      throw error
    },
  )
  return {
    place,
    // If it fails, only the progress of `info` is missing.
    update: (progress) => markHandled(connection.call(progressVerb, progress)),
    [Symbol.asyncDispose]: async () => {
      released.abort()
      try {
        await connection.call(unlockVerb, {})
      } catch {
        // The end of the connection releases the locks.
      }
    },
  }
}

/** [062] if a stop file on the host of one of these repositories prevents commands of the stanza. */
export async function assertHostsNotStopped(repositories: readonly Repository[], signal: AbortSignal): Promise<void> {
  const paths = repositories.map(async ({ host }) => {
    if (host === undefined) return
    const { path } = await host.connection.call(stoppedVerb, {}, { signal })
    if (path === null) return
    throw new PgtsError('stop', `stop file exists on host '${host.name}': ${path}`, {
      hints: ["run 'pgts start' on that host after the maintenance"],
    })
  })
  await Promise.all(paths)
}
