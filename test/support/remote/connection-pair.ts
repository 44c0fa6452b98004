import { createServer, connect as connectSocket, type AddressInfo, type Socket } from 'node:net'
import { socketChannel } from '../../../src/remote/channel.ts'
import { accept, connect } from '../../../src/remote/connect.ts'
import type { Connection, ConnectionOptions } from '../../../src/remote/connection.ts'

/** Two connected sockets of this process: of the caller and of the serving end. */
export async function socketPair(): Promise<readonly [Socket, Socket]> {
  const server = createServer({ allowHalfOpen: true, noDelay: true })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  const accepted = new Promise<Socket>((resolve) => server.once('connection', resolve))
  const caller = connectSocket({ port, host: '127.0.0.1', allowHalfOpen: true, noDelay: true })
  const serving = await accepted
  server.close()
  return [caller, serving]
}

export interface Deferred<T> {
  readonly promise: Promise<T>
  readonly resolve: (value: T) => void
}

export function deferred<T = void>(): Deferred<T> {
  let resolve!: (value: T) => void
  return { promise: new Promise<T>((settle) => (resolve = settle)), resolve }
}

export const CALLER = "remote-0 ssh protocol on 'far'"

/** Both ends of a connection in this process. */
export interface ConnectionPair extends AsyncDisposable {
  readonly caller: Connection
  readonly serving: Connection
  readonly sockets: readonly [Socket, Socket]
}

export async function connectionPair(
  options: { readonly caller?: Partial<ConnectionOptions>; readonly serving?: Partial<ConnectionOptions> } = {},
): Promise<ConnectionPair> {
  const sockets = await socketPair()
  const limits = { ioTimeoutMs: 60_000, protocolTimeoutMs: 60_000 }
  const [serving, caller] = await Promise.all([
    accept(socketChannel(sockets[1], 'the caller'), { ...limits, ...options.serving }),
    connect(socketChannel(sockets[0], CALLER), {
      ...limits,
      ...options.caller,
      host: 'far',
      hostCommandOption: 'repo1-host-cmd',
    }),
  ])
  return {
    caller,
    serving,
    sockets,
    async [Symbol.asyncDispose]() {
      await Promise.all([caller[Symbol.asyncDispose](), serving[Symbol.asyncDispose]()])
    },
  }
}
