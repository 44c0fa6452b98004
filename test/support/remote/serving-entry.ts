import { standardChannel } from '../../../src/remote/channel.ts'
import { accept } from '../../../src/remote/connect.ts'
import { testHandlers } from './test-verbs.ts'

/** A serving end for tests: `node serving-entry.mjs [from to]`, the range of its protocols. */
const [from, to] = process.argv.slice(2, 4).map(Number)
const connection = await accept(standardChannel('the caller'), {
  ioTimeoutMs: 10_000,
  protocolTimeoutMs: 20_000,
  handlers: testHandlers,
  protocols: from === undefined || to === undefined ? undefined : [from, to],
})
await connection.ended
process.exit()
