import { setTimeout as sleep } from 'node:timers/promises'

export interface Patience {
  readonly deadlineMs?: number
  readonly everyMs?: number
  /** Said with the error. */
  readonly details?: () => string
}

/** Wait until `test` says yes. An error names what was waited for. */
export async function until(
  what: string,
  test: () => boolean | Promise<boolean>,
  { deadlineMs = 60_000, everyMs = 10, details }: Patience = {},
): Promise<void> {
  for (const deadline = Date.now() + deadlineMs; Date.now() < deadline; await sleep(everyMs)) if (await test()) return
  throw new Error(`waited in vain for ${what}\n${details?.() ?? ''}`)
}
