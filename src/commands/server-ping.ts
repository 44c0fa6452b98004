import { connect } from '../remote/connect.ts'
import { socketChannel } from '../remote/channel.ts'
import { connectUnverified } from '../remote/tls/connect-tls.ts'
import type { CommandContext } from './context.ts'

/** Ends without an error if a server answers. It is not verified, and this client shows no certificate. */
export async function serverPing(ctx: CommandContext<'server-ping'>): Promise<void> {
  const { options, parameters, signal } = ctx
  const { ioTimeout: ioTimeoutMs, tlsServerAddress, tlsServerPort } = options
  // A server that listens on all addresses of this host.
  const host = parameters[0] ?? (tlsServerAddress === '*' ? 'localhost' : tlsServerAddress)
  const socket = await connectUnverified(host, tlsServerPort, { ioTimeoutMs, signal })
  const channel = socketChannel(socket, `remote-0 tls protocol on '${host}'`)
  await using connection = await connect(channel, {
    host,
    ioTimeoutMs,
    protocolTimeoutMs: ioTimeoutMs,
    signal,
  })
  await connection.ping()
}
