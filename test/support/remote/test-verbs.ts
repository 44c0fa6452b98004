import { createHash } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { field, integer, nothing, record, text } from '../../../src/remote/fields.ts'
import { onCall, onDownload, onUpload } from '../../../src/remote/handlers.ts'
import { callVerb, downloadVerb, uploadVerb } from '../../../src/remote/verb.ts'

/** Verbs of `serving-entry.ts`. */
export const whoami = callVerb('whoami', nothing, record({ uid: field(1, integer), pid: field(2, integer) }))
export const hash = uploadVerb('hash', nothing, nothing, record({ sha1: field(1, text) }))
export const zeros = downloadVerb('zeros', record({ size: field(1, integer) }), nothing)
/** Waits until it is cancelled, then writes this file. */
export const mark = callVerb('mark', record({ path: field(1, text) }), nothing)
/** Occupies its thread. */
export const block = callVerb('block', record({ ms: field(1, integer) }), nothing)

export const testHandlers = [
  onCall(whoami, async () => ({ uid: process.getuid!(), pid: process.pid })),
  onUpload(hash, async (_, body) => {
    const sha1 = createHash('sha1')
    for (let chunk = await body.next(); chunk !== undefined; chunk = await body.next()) sha1.update(chunk)
    return { sha1: sha1.digest('hex') }
  }),
  onDownload(zeros, async ({ size }) => {
    let left = size
    const next = () => {
      const chunk = new Uint8Array(Math.min(left, 262_144))
      left -= chunk.length
      return chunk.length === 0 ? undefined : chunk
    }
    return { answer: {}, body: { next, [Symbol.asyncDispose]: async () => undefined } }
  }),
  onCall(mark, async ({ path }, { signal }) => {
    await new Promise((resolve) => signal.addEventListener('abort', resolve))
    writeFileSync(path, String(process.pid))
    return {}
  }),
  onCall(block, async ({ ms }) => {
    const until = performance.now() + ms
    while (performance.now() < until);
    await sleep(0)
    return {}
  }),
]
