import { chmodSync, mkdtempSync, rmSync } from 'node:fs'
import { createServer, request, type Server } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Azurite, type AzuriteAddress } from './azurite.ts'
import { S3Server, type S3ServerAddress } from './s3-server.ts'

/** Servers that all test files of one run share; each is started when the first asks for it. */
interface Stores {
  readonly s3: S3ServerAddress
  readonly azure: AzuriteAddress
}

/** Socket of the store keeper of this run. */
const SOCKET = 'PGTS_TEST_STORES'

interface Started extends AsyncDisposable {
  readonly address: unknown
}

/**
 * Runs the servers in the main process of the test run, and returns their addresses to the test files. Starting
 * one takes seconds, and most runs of a few tests need none.
 *
 * @returns a function that stops the servers
 */
export async function keepStores(): Promise<() => Promise<void>> {
  const dir = mkdtempSync(join(tmpdir(), 'pgts-stores-'))
  // Certificates are read by another user, the one of the servers.
  chmodSync(dir, 0o755)
  // Programs that run as another user read the certificates.
  chmodSync(dir, 0o755)
  const starters: Record<keyof Stores, () => Promise<Started>> = {
    s3: () => S3Server.start(join(dir, 's3')),
    azure: () => Azurite.start(join(dir, 'azure')),
  }
  const started = new Map<string, Promise<Started>>()
  const keeper = createServer((asked, answer) => {
    const name = (asked.url ?? '').slice(1) as keyof Stores
    let store = started.get(name)
    if (store === undefined) started.set(name, (store = starters[name]()))
    store.then(
      ({ address }) => answer.end(JSON.stringify({ address })),
      (error: unknown) => answer.end(JSON.stringify({ error: String(error) })),
    )
  })
  await listen(keeper, (process.env[SOCKET] = join(dir, 'socket')))
  return async () => {
    keeper.close()
    const servers = await Promise.allSettled(started.values())
    await Promise.all(
      servers.map(async (server) => (server.status === 'fulfilled' ? server.value[Symbol.asyncDispose]() : undefined)),
    )
    rmSync(dir, { recursive: true, force: true })
  }
}

function listen(server: Server, path: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject)
    server.listen(path, resolve)
  })
}

/** The server of this run, started when it is requested first. */
export async function sharedStore<K extends keyof Stores>(name: K): Promise<Stores[K]> {
  const socketPath = process.env[SOCKET]
  if (socketPath === undefined) throw new Error('no stores are kept: this is for tests that vitest runs')
  const text = await new Promise<string>((resolve, reject) => {
    const asked = request({ socketPath, path: `/${name}` }, async (answer) => {
      const chunks: Buffer[] = []
      for await (const chunk of answer) chunks.push(chunk as Buffer)
      resolve(Buffer.concat(chunks).toString())
    })
    asked.once('error', reject)
    asked.end()
  })
  const answer = JSON.parse(text) as { address: Stores[K] } | { error: string }
  if ('error' in answer) throw new Error(`the ${name} server did not start: ${answer.error}`)
  return answer.address
}
