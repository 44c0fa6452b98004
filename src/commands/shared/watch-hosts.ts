import type { Repository } from '../../core/repository.ts'
import { isPgtsError, messageOf } from '../../util/error.ts'
import { every } from '../../util/every.ts'
import type { CommandContext } from '../context.ts'

const LOOK_MS = 1000

/** Is one of these repositories on another host? */
export function isDistant(repos: readonly { readonly host?: string | undefined }[]): boolean {
  return repos.some(({ host }) => host !== undefined)
}

/** @returns a function: the reason why the process of another host that serves one of these repositories has ended */
export function lostConnection(repositories: readonly Repository[]): () => string | undefined {
  const connections = repositories.flatMap(({ host }) => host?.connection ?? [])
  return () => {
    const lost = connections.find(({ signal }) => signal.aborted)
    return lost === undefined ? undefined : messageOf(lost.signal.reason)
  }
}

/** Why a background process that uses repositories on other hosts must end. */
export interface HostWatch extends Disposable {
  /** `stopped`: an operator has stopped the stanza on such a host. */
  reason(): { readonly stopped: boolean; readonly message: string } | undefined
}

/** Looks for stop files on the hosts of these repositories, and whether their connections are lost. */
export function watchHosts(
  ctx: Pick<CommandContext, 'options' | 'refuseWhenStopped'>,
  repositories: readonly Repository[],
): HostWatch {
  const lost = lostConnection(repositories)
  let stopped: string | undefined
  let isAsking = false
  const look = async () => {
    if (isAsking) return
    isAsking = true
    try {
      await ctx.refuseWhenStopped()
    } catch (error) {
      if (isPgtsError(error, 'stop')) stopped = messageOf(error)
    }
    isAsking = false
  }
  const timer = isDistant(ctx.options.repo) ? every(LOOK_MS, () => void look()) : undefined
  return {
    reason() {
      if (stopped !== undefined) return { stopped: true, message: stopped }
      const message = lost()
      return message === undefined ? undefined : { stopped: false, message }
    },
    [Symbol.dispose]: () => timer?.[Symbol.dispose](),
  }
}
