import { setImmediate } from 'node:timers/promises'

/** Maximum time that a thread works before the event loop runs. */
const TURN_MS = 10

let lastMs = 0

/**
 * For code that rarely waits, on a thread with other concurrent work: undefined if the event loop ran recently, else a
 * promise that resolves after it has run.
 */
export function yieldToEventLoop(): Promise<void> | undefined {
  const now = performance.now()
  if (now - lastMs < TURN_MS) return undefined
  return setImmediate().then(() => void (lastMs = performance.now()))
}
