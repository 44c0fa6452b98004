import { existsSync, readFileSync, statSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import type { PushJob, PushJobResult } from '../../../src/core/archive/push/push-job.ts'
import { serveJobs } from '../../../src/worker/serve.ts'

/**
 * A worker that stores nothing. `<segment>.hold` delays a push while it exists, and a named pipe
 * `<segment>.pipe` blocks the thread in a call that does not return.
 */
const handlers = {
  'archive-push': async ({ path, repoKeys }: PushJob, _env: unknown, signal: AbortSignal) => {
    if (existsSync(`${path}.pipe`)) readFileSync(`${path}.pipe`)
    while (existsSync(`${path}.hold`)) await sleep(2, undefined, { signal })
    const result: PushJobResult = {
      stored: repoKeys,
      failures: [],
      sizeBytes: 1024,
      mtimeNs: statSync(path, { bigint: true, throwIfNoEntry: false })?.mtimeNs ?? 0n,
      warnings: [],
    }
    return result
  },
}

serveJobs(
  async () => handlers,
  async () => ({ [Symbol.asyncDispose]: async () => undefined }),
)
