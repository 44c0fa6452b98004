import { setTimeout as sleep } from 'node:timers/promises'

export interface Patience {
  readonly deadlineMs?: number
  readonly everyMs?: number
  /** Part of the error message. */
  readonly details?: () => string
}

/** Wait until `test` is true. The error of a timeout contains `what`. */
export async function until(
  what: string,
  test: () => boolean | Promise<boolean>,
  { deadlineMs = 60_000, everyMs = 10, details }: Patience = {},
): Promise<void> {
  for (const deadline = Date.now() + deadlineMs; Date.now() < deadline; await sleep(everyMs)) if (await test()) return
  throw new Error(`timeout while waiting for ${what}\n${details?.() ?? ''}`)
}
