import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { createServer, type AddressInfo, type Socket } from 'node:net'
import { join } from 'node:path'
import { socketChannel, type Channel } from '../../../src/remote/channel.ts'
import { acceptTls } from '../../../src/remote/tls/accept-tls.ts'
import { connectTls } from '../../../src/remote/tls/connect-tls.ts'
import { makeTestDir } from '../processes/test-user.ts'
import { TestAuthority, type IssuedCertificate } from './certificates.ts'

let made: { readonly authority: TestAuthority; readonly host: IssuedCertificate } | undefined

/** Two ends of a connection by TLS in this process, the caller's first. */
export async function tlsChannels(): Promise<[Channel, Channel]> {
  if (made === undefined) {
    const authority = new TestAuthority(join(makeTestDir('tls-channels'), 'tls'))
    made = { authority, host: authority.issue('host', { subject: '/CN=host', names: ['IP:127.0.0.1'] }) }
  }
  const { authority, host } = made
  const [ca, cert, key] = [authority.caFile, host.certFile, host.keyFile].map((path) => readFileSync(path, 'utf8'))
  const server = createServer({ pauseOnConnect: true }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const limits = { ioTimeoutMs: 10_000 }
  const accepted = once(server, 'connection').then(([socket]) =>
    acceptTls(socket as Socket, { ca: [ca!], cert: cert!, key: key! }, limits.ioTimeoutMs),
  )
  const { port } = server.address() as AddressInfo
  const near = await connectTls({ host: '127.0.0.1', port, caFile: authority.caFile, ...host, option: '' }, limits)
  const far = await accepted
  server.close()
  return [socketChannel(near, "remote-0 tls protocol on 'backup1'"), socketChannel(far!, 'client')]
}
