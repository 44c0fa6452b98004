import { mkdtempSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { S3Server } from './s3-server.ts'

// An S3 server for tests by hand: `node scripts/run.mjs test/support/stores/s3-server-main.ts`, until ^C.
const server = await S3Server.start(mkdtempSync(join(tmpdir(), 'pgts-s3-')))
console.log(JSON.stringify(server.address, undefined, 2))
await new Promise((resolve) => {
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, resolve)
})
await server[Symbol.asyncDispose]()
