import { setImmediate } from 'node:timers/promises'

/** How long a thread may work before its sockets get a turn. */
const TURN_MS = 10

let lastMs = 0

/**
 * For code that rarely waits, on a thread that has other things under way: undefined while the last turn of the event
 * loop is recent, else a promise that resolves after one.
 */
export function yieldToEventLoop(): Promise<void> | undefined {
  const now = performance.now()
  if (now - lastMs < TURN_MS) return undefined
  return setImmediate().then(() => void (lastMs = performance.now()))
}
