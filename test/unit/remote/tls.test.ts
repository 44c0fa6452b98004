import { execFileSync } from 'node:child_process'
import { X509Certificate } from 'node:crypto'
import { chmodSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { createServer, type AddressInfo, type Server } from 'node:net'
import { join } from 'node:path'
import type { TLSSocket } from 'node:tls'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { acceptTls, identityOf, type PeerIdentity } from '../../../src/remote/tls/accept-tls.ts'
import { connectTls, connectUnverified, type TlsTarget } from '../../../src/remote/tls/connect-tls.ts'
import { readKeyPair } from '../../../src/util/key-pair.ts'
import { TestAuthority, type IssuedCertificate } from '../../support/hosts/certificates.ts'
import { shellBlocks } from '../../support/run/doc-blocks.ts'
import { makeTestDir } from '../../support/processes/test-user.ts'

const dir = makeTestDir('tls')
const NAMES = ['DNS:localhost', 'IP:127.0.0.1']
let authority: TestAuthority
let other: TestAuthority
let server: IssuedCertificate
let client: IssuedCertificate

beforeAll(() => {
  authority = new TestAuthority(join(dir, 'authority'))
  other = new TestAuthority(join(dir, 'other'), 'another authority')
  server = authority.issue('server', { subject: '/CN=repo', names: NAMES })
  client = authority.issue('client', { subject: '/CN=db1' })
})

const servers: Server[] = []
afterAll(() => {
  for (const one of servers) one.close()
})

interface End {
  readonly port: number
  /** The other end of the first connection. */
  readonly accepted: Promise<{ readonly socket: TLSSocket; readonly identity: PeerIdentity }>
}

/** A server with this certificate, which trusts `authority`. */
async function aServer(shown: IssuedCertificate = server): Promise<End> {
  const certificates = {
    ca: [readFileSync(authority.caFile, 'utf8')],
    cert: readFileSync(shown.certFile, 'utf8'),
    key: readFileSync(shown.keyFile, 'utf8'),
  }
  const listening = createServer({ pauseOnConnect: true })
  servers.push(listening)
  const accepted = new Promise<{ socket: TLSSocket; identity: PeerIdentity }>((resolve, reject) => {
    listening.once('connection', (raw) => {
      acceptTls(raw, certificates, 5000).then((socket) => {
        if (socket === undefined) return
        socket.on('error', () => undefined)
        resolve({ socket, identity: identityOf(socket) })
      }, reject)
    })
  })
  accepted.catch(() => undefined)
  await new Promise<void>((resolve) => listening.listen(0, '127.0.0.1', resolve))
  return { port: (listening.address() as AddressInfo).port, accepted }
}

const target = (port: number, changes: Partial<TlsTarget> = {}): TlsTarget => ({
  host: '127.0.0.1',
  port,
  caFile: authority.caFile,
  ...client,
  option: 'repo1-host',
  ...changes,
})
const LIMITS = { ioTimeoutMs: 5000 }

async function identityFor(shown: IssuedCertificate): Promise<PeerIdentity> {
  const { port, accepted } = await aServer()
  const socket = await connectTls(target(port, shown), LIMITS)
  const { identity } = await accepted
  socket.destroy()
  return identity
}

test('bytes pass in both directions, and the server knows the common name of the client', async () => {
  const { port, accepted } = await aServer()
  const socket = await connectTls(target(port), LIMITS)
  const { socket: end, identity } = await accepted
  expect(identity).toEqual({ kind: 'verified', name: 'db1' })
  expect(['TLSv1.2', 'TLSv1.3']).toContain(socket.getProtocol())
  socket.write('ping')
  expect(String(await new Promise((resolve) => end.once('data', resolve)))).toBe('ping')
  end.write('pong')
  expect(String(await new Promise((resolve) => socket.once('data', resolve)))).toBe('pong')
  socket.destroy()
})

test.each([
  ['has expired', { subject: '/CN=db1', days: -1 }, 'it has expired'],
  ['has two common names', { subject: '/CN=db1/CN=db2' }, 'its subject must have exactly one common name (CN)'],
  ['has no common name', { subject: '/O=db1' }, 'its subject must have exactly one common name (CN)'],
])('a client certificate that %s has no rights, and the reason is known', async (what, request, reason) => {
  const shown = authority.issue(what.replaceAll(' ', '-'), request)
  expect(await identityFor(shown)).toEqual({ kind: 'invalid', reason })
})

test('a client certificate of another authority has no rights', async () => {
  const shown = other.issue('client', { subject: '/CN=db1' })
  expect(await identityFor(shown)).toEqual({ kind: 'invalid', reason: 'its authority is not trusted' })
})

test('a client without a certificate is connected and has none', async () => {
  const { port, accepted } = await aServer()
  const socket = await connectUnverified('127.0.0.1', port, LIMITS)
  expect((await accepted).identity).toEqual({ kind: 'none' })
  socket.destroy()
})

test('a name that ends with a dot, as in certificates of Kubernetes, is accepted', async () => {
  const { port } = await aServer(authority.issue('dot', { subject: '/CN=repo', names: ['DNS:localhost.'] }))
  const socket = await connectTls(target(port, { host: 'localhost' }), LIMITS)
  socket.destroy()
})

test.each([
  ['that has expired', { subject: '/CN=repo', names: NAMES, days: -1 }, /certificate has expired/],
  ['for another host', { subject: '/CN=repo', names: ['DNS:repo.example'] }, /does not match certificate's altnames/],
])('connecting to a server with a certificate %s ends with [095]', async (what, request, message) => {
  const { port } = await aServer(authority.issue(what.replaceAll(' ', '-'), request))
  await expect(connectTls(target(port), LIMITS)).rejects.toMatchObject({ code: 'crypto', message })
})

test('connecting to a server of another authority ends with [095]', async () => {
  const { port } = await aServer()
  await expect(connectTls(target(port, { caFile: other.caFile }), LIMITS)).rejects.toMatchObject({
    code: 'crypto',
    message: expect.stringMatching(
      /^cannot establish TLS with '127\.0\.0\.1' port \d+: (unable to get local issuer|unable to verify|self-signed)/,
    ) as string,
  })
})

test('a port on which nothing listens is [049]', async () => {
  const { port } = await aServer()
  await new Promise((resolve) => servers.pop()!.close(resolve))
  await expect(connectTls(target(port), LIMITS)).rejects.toMatchObject({
    code: 'host-connect',
    message: expect.stringContaining('ECONNREFUSED') as string,
  })
})

test('a server that accepts and does not answer is [049] after the timeout', async () => {
  const silent = createServer(() => undefined)
  servers.push(silent)
  await new Promise<void>((resolve) => silent.listen(0, '127.0.0.1', resolve))
  const { port } = silent.address() as AddressInfo
  await expect(connectTls(target(port), { ioTimeoutMs: 300 })).rejects.toMatchObject({
    code: 'host-connect',
    message: expect.stringContaining('TLS was not established within 0.3 s (io-timeout)') as string,
  })
})

test('a server that does not speak TLS is [095]', async () => {
  const plain = createServer((socket) => void socket.end('SSH-2.0-OpenSSH_9.2\r\n'))
  servers.push(plain)
  await new Promise<void>((resolve) => plain.listen(0, '127.0.0.1', resolve))
  const { port } = plain.address() as AddressInfo
  await expect(connectUnverified('127.0.0.1', port, LIMITS)).rejects.toMatchObject({ code: 'crypto' })
})

test('connecting ends with the reason of its signal', async () => {
  const controller = new AbortController()
  const { port } = await aServer()
  controller.abort(new Error('stopped'))
  await expect(connectTls(target(port), { ioTimeoutMs: 5000, signal: controller.signal })).rejects.toThrow('stopped')
})

const pairOf = ({ certFile, keyFile }: IssuedCertificate) =>
  readKeyPair({ certFile, keyFile, certOption: 'repo1-host-cert-file', keyOption: 'repo1-host-key-file' })

test.each([0o640, 0o604, 0o660, 0o620])(
  'a key with mode %i is refused with [042] and the command to run',
  async (mode) => {
    const pair = authority.issue('mode', { subject: '/CN=mode' })
    chmodSync(pair.keyFile, mode)
    // As root the key belongs to root, who may let a group read it.
    if (mode === 0o640 && process.getuid!() === 0) return
    await expect(pairOf(pair)).rejects.toMatchObject({
      code: 'file-read',
      message: `key ${pair.keyFile} can be read or changed by other users`,
    })
  },
)

test('a key behind a link, as in a volume of Kubernetes, is read', async () => {
  const link = join(dir, 'link.key')
  symlinkSync(client.keyFile, link)
  expect(await pairOf({ ...client, keyFile: link })).toEqual({
    cert: readFileSync(client.certFile, 'latin1'),
    key: readFileSync(client.keyFile, 'latin1'),
  })
})

test('a key of another certificate is [095], and a text is [028]', async () => {
  await expect(pairOf({ ...client, keyFile: server.keyFile })).rejects.toMatchObject({ code: 'crypto' })
  const text = join(dir, 'text')
  writeFileSync(text, 'not a certificate\n', { mode: 0o600 })
  await expect(pairOf({ ...client, certFile: text })).rejects.toMatchObject({ code: 'file-invalid' })
  await expect(pairOf({ ...client, keyFile: text })).rejects.toMatchObject({ code: 'crypto' })
})

test('the commands of the guide make certificates for their hosts, whose keys are accepted', async () => {
  const made = join(dir, 'guide')
  mkdirSync(made)
  for (const block of shellBlocks('docs/guide/tls.md', '1. Make certificates'))
    execFileSync('sh', ['-ec', block], { cwd: made, stdio: 'pipe' })
  for (const host of ['db1.example.com', 'repo.example.com']) {
    const [certFile, keyFile] = [join(made, `${host}.crt`), join(made, `${host}.key`)]
    const { cert } = await pairOf({ certFile, keyFile })
    expect(new X509Certificate(cert).checkHost(host)).toBe(host)
    for (const purpose of ['sslclient', 'sslserver'])
      execFileSync('openssl', ['verify', '-CAfile', join(made, 'ca.crt'), '-purpose', purpose, certFile], {
        stdio: 'pipe',
      })
  }
})
