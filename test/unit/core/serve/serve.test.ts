import { expect, test } from 'vitest'
import { serve } from '../../../../src/core/serve/serve.ts'
import { repositoryOf } from '../../../../src/core/repository.ts'
import { openOver, type HostDescription } from '../../../../src/remote/host.ts'
import { memoryStorage } from '../../../../src/storage/memory.ts'
import { channels, LIMITS, OPEN_REPO, servingContext } from '../../../support/hosts/over-connection.ts'

/** A caller with these limits. */
function description(limits: Partial<typeof LIMITS>): HostDescription {
  const transport = { kind: 'ssh', program: 'ssh', user: 'u', command: 'pgts', args: [] } as const
  return { host: 'backup1', hostCommandOption: 'repo1-host-cmd', transport, open: { ...OPEN_REPO, ...limits } }
}

const serving = { ...LIMITS, signal: new AbortController().signal }

/** The network goes down after the caller has opened its storage; returns when the process that serves has ended. */
async function endsWithoutNetwork(callerMs: number, serverMs: number): Promise<void> {
  let isDown = false
  const [near, far] = channels(() => isDown)
  const context = servingContext({ repositories: async () => [repositoryOf({ key: 1 }, memoryStorage())] })
  const serves = serve(far, { contextFor: async () => context }, { ...serving, protocolTimeoutMs: serverMs })
  const { connection } = await openOver(near, description({ protocolTimeoutMs: callerMs }), {})
  // The caller has a longer limit of its own here, so that it does not end the connection itself.
  connection.limitSilence(LIMITS)
  isDown = true
  const served = await serves
  await served.ended
  isDown = false
  await connection[Symbol.asyncDispose]()
}

test('a process that serves ends after the protocol-timeout of its caller, when the network is down', async () => {
  await endsWithoutNetwork(200, LIMITS.protocolTimeoutMs)
})

test('a caller does not get longer limits than those of the other host', async () => {
  await endsWithoutNetwork(LIMITS.protocolTimeoutMs, 200)
})

test('an other end whose storage hangs is an error after protocol-timeout, although it answers pings', async () => {
  const [near, far] = channels()
  const context = servingContext({ repositories: () => new Promise(() => undefined) })
  const serves = serve(far, { contextFor: async () => context }, serving)
  await expect(openOver(near, description({ protocolTimeoutMs: 300 }), {})).rejects.toMatchObject({
    code: 'host-connect',
    message: "remote-0 ssh protocol on 'backup1' has not opened repo1 within 0.3 s (protocol-timeout)",
  })
  await serves
})
