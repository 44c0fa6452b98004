import { setMaxListeners } from 'node:events'
import type { ServerConnection } from '../../postgres/client.ts'
import type { Clock } from '../../util/clock.ts'

const PING_MS = 30_000

/** Checks regularly that servers answer and have the same role, until disposed. */
export interface ServerWatch extends AsyncDisposable {
  /** Aborted with the error of the first failed check, and with the given signal. */
  readonly signal: AbortSignal
}

export function watchServers(servers: readonly ServerConnection[], clock: Clock, signal: AbortSignal): ServerWatch {
  const [failed, ended] = [new AbortController(), new AbortController()]
  const either = AbortSignal.any([signal, failed.signal])
  // Every request adds a listener; Node would report a leak on stderr.
  setMaxListeners(0, either)
  const watching = watch(servers, clock, AbortSignal.any([either, ended.signal])).catch((error: unknown) => {
    if (!ended.signal.aborted) failed.abort(error)
  })
  return {
    signal: either,
    async [Symbol.asyncDispose]() {
      ended.abort()
      await watching
    },
  }
}

async function watch(servers: readonly ServerConnection[], clock: Clock, signal: AbortSignal): Promise<void> {
  // Without a server there is nothing to wait for; a clock that does not wait would never let others run.
  while (servers.length > 0) {
    await clock.sleep(PING_MS, signal)
    for (const server of servers) await server.ping()
  }
}
