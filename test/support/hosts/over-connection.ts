import { PassThrough } from 'node:stream'
import { repositoryOf } from '../../../src/core/repository.ts'
import { serve, type ServingContext } from '../../../src/core/serve/serve.ts'
import type { Channel } from '../../../src/remote/channel.ts'
import { connect } from '../../../src/remote/connect.ts'
import { openVerb, type OpenRequest } from '../../../src/remote/open.ts'
import type { StorageDriver } from '../../../src/storage/driver.ts'
import { RemoteStorage } from '../../../src/storage/remote/driver.ts'

export const LIMITS = { ioTimeoutMs: 30_000, protocolTimeoutMs: 60_000 }

export const OPEN_REPO: OpenRequest = {
  kind: 'repo',
  command: 'info',
  stanza: 'main',
  key: 1,
  process: 0,
  execId: '1-00000000',
  ...LIMITS,
}

/** A storage as a process of another host serves it, by default through pipes in this process. */
export async function overConnection(
  storage: StorageDriver,
  context: Partial<ServingContext> = {},
  open: () => Promise<[Channel, Channel]> = async () => channels(),
): Promise<RemoteStorage> {
  const [near, far] = await open()
  const serving = servingContext({ repositories: async () => [repositoryOf({ key: 1 }, storage)], ...context })
  const served = serve(far, { contextFor: async () => serving }, { ...LIMITS, signal: new AbortController().signal })
  const connection = await connect(near, {
    ...LIMITS,
    host: 'backup1',
    hostCommandOption: 'repo1-host-cmd',
  })
  await served
  return new RemoteStorage(connection, 'backup1', await connection.call(openVerb, OPEN_REPO))
}

export function servingContext(changes: Partial<ServingContext> = {}): ServingContext {
  return {
    stanza: 'main',
    lockPath: '/nonexistent',
    isExclusive: false,
    repositories: async () => [],
    cluster: () => Promise.reject(new Error('no cluster is served')),
    openExecutor: () => Promise.reject(new Error('no jobs are served')),
    [Symbol.asyncDispose]: async () => undefined,
    ...changes,
  }
}

/**
 * Two ends in this process, the caller's first. Bytes are copied, as by the kernel: both ends use their buffers again.
 *
 * @param isLost bytes that are sent now are lost, as by a network that is down
 */
export function channels(isLost: () => boolean = () => false): [Channel, Channel] {
  const copying = () =>
    new PassThrough({
      transform: (chunk: Buffer, _, done) => (isLost() ? done() : done(null, Buffer.from(chunk))),
    })
  const [there, back] = [copying(), copying()]
  const channel = (input: PassThrough, output: PassThrough, display: string): Channel => ({
    input,
    output,
    display,
    explainEnd: async () => undefined,
    destroy: () => {
      input.destroy()
      output.destroy()
    },
    closed: Promise.all([input, output].map((one) => new Promise((resolve) => one.once('close', resolve)))).then(
      () => undefined,
    ),
  })
  return [channel(back, there, `remote-0 ssh protocol on 'backup1'`), channel(there, back, 'client')]
}
