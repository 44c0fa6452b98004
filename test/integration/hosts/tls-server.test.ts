import { spawn } from 'node:child_process'
import { chmodSync, closeSync, openSync, readFileSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { connectUnverified } from '../../../src/remote/tls/connect-tls.ts'
import { NotifySocket } from '../../support/hosts/notify-socket.ts'
import { TlsServer } from '../../support/hosts/tls-server.ts'
import { childrenOf, isGone, signal } from '../../support/processes/processes.ts'
import { cleanEnv, isInstalled, makeTestDir, pgts, runAs, testUser } from '../../support/processes/test-user.ts'
import { PGBACKREST } from '../../support/processes/programs.ts'
import { expectRefusal } from '../../support/refusal.ts'
import { freePorts } from '../../support/stores/free-port.ts'
import { until } from '../../support/until.ts'

const LIMITS = { ioTimeoutMs: 10_000 }

/** The subject of the certificate that the server shows. */
async function subjectShown(server: TlsServer): Promise<string> {
  const socket = await connectUnverified('127.0.0.1', server.port, LIMITS)
  const { subject } = socket.getPeerCertificate()
  socket.on('error', () => undefined).destroy()
  return String(subject.CN)
}

describe('a server under the name pgbackrest', () => {
  let server: TlsServer
  beforeAll(async () => {
    server = await TlsServer.start({ name: 'pgbackrest' })
  })
  afterAll(() => server[Symbol.asyncDispose]())

  test('answers server-ping without a certificate, by its address and by a parameter', async () => {
    expect(await server.ping()).toMatchObject({ code: 0, stdout: '', stderr: '' })
    expect(await server.ping('127.0.0.1')).toMatchObject({ code: 0, stdout: '', stderr: '' })
    expect(server.log()).not.toContain('WARN')
  })

  test('server-ping without a server ends with [049]', async () => {
    const result = await pgts(['--tls-server-port=1', 'server-ping', '127.0.0.1'])
    expectRefusal(result, { code: 49, says: ["cannot connect to '127.0.0.1' port 1"], hint: 'pgts server runs' })
  })

  test('the server and its processes have the name pgbackrest, and their arguments stay visible', async () => {
    // A process has it when it has started.
    const isNamed = (pid: number) => readFileSync(`/proc/${pid}/comm`, 'utf8') === 'pgbackrest\n'
    await until('one spare process and the names', () => {
      const spare = server.processes()
      return spare.length === 1 && [server.pid, ...spare].every(isNamed)
    })
    const found = await runAs(testUser, 'pgrep', ['--exact', '--parent', String(process.pid), 'pgbackrest'])
    expect(found.stdout.trim().split('\n')).toContain(String(server.pid))
    expect(readFileSync(`/proc/${server.pid}/cmdline`, 'utf8').split('\0')).toContain('server')
  })

  test('SIGHUP loads a new certificate', async () => {
    expect(await subjectShown(server)).toBe('localhost')
    server.issueServer({ subject: '/CN=renewed' })
    await server.reload()
    expect(await subjectShown(server)).toBe('renewed')
  })

  test.each([
    [
      'a certificate that is cut off',
      () => writeFileSync(join(server.dir, 'tls/server.crt'), '-----BEGIN CERTIFICATE-----\n'),
    ],
    ['a configuration with an error', () => server.configure({ lines: ['tls-server-port=many'] })],
    ['rights without a stanza', () => server.configure({ auth: ['db1='] })],
  ])('after SIGHUP with %s the former certificate stays in use, and the error is logged', async (_, damage) => {
    const before = server.log().length
    damage()
    await server.reload()
    expect(server.log().slice(before)).toMatch(/ERROR: cannot load the configuration again, so the previous one stays/)
    expect(await subjectShown(server)).toBe('renewed')
    server.issueServer({ subject: '/CN=renewed' })
    server.configure()
    await server.reload()
  })

  test('SIGHUP with another port listens there, and not on the former one', async () => {
    const { port } = server
    const [other = 0] = await freePorts(1)
    server.configure({ lines: [`tls-server-port=${other}`] })
    await server.reload()
    const pinged = (at: number) => runAs(testUser, server.program, [`--tls-server-port=${at}`, 'server-ping'])
    expect((await pinged(other)).code).toBe(0)
    expect((await pinged(port)).code).toBe(49)
    server.configure()
    await server.reload()
    expect((await server.ping()).code).toBe(0)
  })

  test('a spare process that was killed is replaced', async () => {
    // Not the process of the last ping.
    await until('the spare process alone', () => server.processes().length === 1)
    const [spare = 0] = server.processes()
    signal(spare, 'SIGKILL')
    await until('the next process', () => server.processes().some((pid) => pid !== spare))
    expect((await server.ping()).code).toBe(0)
  })

  test('a client that sends other bytes than TLS is refused, and logged with its address', async () => {
    const before = server.log().length
    const socket = connect(server.port, '127.0.0.1')
    socket.write('GET / HTTP/1.1\r\n\r\n')
    await new Promise((resolve) => socket.once('close', resolve).on('error', () => undefined))
    await until('the line', () => server.log().slice(before).includes('refused the connection from 127.0.0.1'))
    expect(server.log().slice(before)).toContain('the TLS handshake failed')
  })
})

test('a server on all addresses answers server-ping, which uses the same configuration', async () => {
  await using server = await TlsServer.start({ global: ['tls-server-address=*'] })
  expect((await server.ping()).code).toBe(0)
  expect((await server.ping('127.0.0.1')).code).toBe(0)
})

test.skipIf(!isInstalled(PGBACKREST))(
  'a server of pgbackrest is recognised, and its client gets a hint from this one',
  async () => {
    await using server = await TlsServer.prepare()
    const program = [
      '--pdeathsig',
      'KILL',
      `--reuid=${testUser.uid}`,
      `--regid=${testUser.gid}`,
      '--clear-groups',
      PGBACKREST,
    ]
    const stock = spawn('setpriv', [...program, `--config=${server.config}`, 'server'], { stdio: 'ignore' })
    const ping = () => server.ping('127.0.0.1')
    try {
      await until('the server of pgbackrest', async () => (await ping()).code !== 49)
      const says = [/the program on '127\.0\.0\.1' is pgBackRest 2\.\d+, not pgts/]
      expectRefusal(await ping(), { code: 39, says, hint: 'start pgts server' })
    } finally {
      stock.kill()
    }
    await new Promise((resolve) => stock.once('exit', resolve))
    await server.run()
    const theirs = await runAs(testUser, PGBACKREST, [`--config=${server.config}`, 'server-ping', '127.0.0.1'])
    expect(theirs.code).toBe(39)
    expect(theirs.stdout + theirs.stderr).toContain('pgts (install pgts on both hosts)')
  },
)

test.runIf(process.getuid!() === 0)('the server runs as the first process of a container', async () => {
  await using server = await TlsServer.prepare({ name: 'pgbackrest' })
  const log = openSync(server.logFile, 'w')
  const user = [`--reuid=${testUser.uid}`, `--regid=${testUser.gid}`, '--clear-groups']
  const inside = ['setpriv', ...user, server.program, `--config=${server.config}`, 'server']
  const stdio = ['ignore', log, log] as const
  const outer = spawn('unshare', ['--pid', '--fork', '--kill-child', ...inside], { stdio: [...stdio], env: cleanEnv() })
  closeSync(log)
  await until('the server', () => server.log().includes(`port ${server.port}`), { details: () => server.log() })
  const [first = 0] = childrenOf(outer.pid!)
  expect(readFileSync(`/proc/${first}/status`, 'utf8')).toMatch(/^Name:\tpgbackrest\n[^]*^NSpid:\t\d+\t1$/m)
  expect((await server.ping()).code).toBe(0)
  signal(first, 'SIGHUP')
  await until('the reload', () => server.log().includes('loaded again'))
  signal(first, 'SIGTERM')
  expect(await new Promise((resolve) => outer.once('exit', resolve))).toBe(0)
  expect(server.log()).toContain('INFO: server command end: completed successfully')
})

test('a client that sends nothing after the handshake is disconnected after io-timeout', async () => {
  await using server = await TlsServer.start({ global: ['io-timeout=2'] })
  const client = await connectUnverified('127.0.0.1', server.port, LIMITS)
  client.on('error', () => undefined).resume()
  await new Promise((resolve) => client.once('close', resolve))
  await until('the line', () => server.log().includes('refused the connection from 127.0.0.1'))
  await until('the spare process alone', () => server.processes().length === 1)
})

test('300 connections that send nothing are closed after io-timeout, with few processes, and the server answers', async () => {
  await using server = await TlsServer.start({ global: ['io-timeout=3'] })
  const sockets = Array.from({ length: 300 }, () => connect(server.port, '127.0.0.1').on('error', () => undefined))
  const closed = sockets.map((socket) => new Promise<void>((resolve) => socket.resume().once('close', () => resolve())))
  await until('many processes', () => server.processes().length > 10)
  expect(server.processes().length).toBeLessThanOrEqual(17)
  await Promise.all(closed)
  const refused = server
    .log()
    .match(/refused the connection from 127\.0\.0\.1: (no valid request within 3 s|there are 256)/g)
  expect(refused).toHaveLength(300)
  await until('an answer', async () => (await server.ping()).code === 0)
})

test.each(['SIGTERM', 'SIGINT'] as const)('%s ends the server and its processes, with 0', async (name) => {
  await using server = await TlsServer.start()
  const client = await connectUnverified('127.0.0.1', server.port, LIMITS)
  client.on('error', () => undefined)
  await until('a second process', () => server.processes().length === 2)
  const all = server.processes()
  server.kill(name)
  await server.ended()
  await until('the end of all processes', () => all.every(isGone))
  expect(server.log()).toContain('INFO: server command end: completed successfully')
  client.destroy()
})

test('systemd is notified when the server is ready, reloads and stops', async () => {
  using socket = new NotifySocket(join(makeTestDir('notify'), 'socket'))
  await using server = await TlsServer.start({ env: { NOTIFY_SOCKET: socket.path } })
  const messages: string[] = []
  const arrived = (count: number) => until(`${count} messages`, () => messages.push(...socket.received()) >= count)
  await arrived(1)
  await server.reload()
  await arrived(3)
  server.kill('SIGTERM')
  await arrived(4)
  expect(messages).toEqual([
    'READY=1',
    expect.stringMatching(/^RELOADING=1\nMONOTONIC_USEC=\d+$/),
    'READY=1',
    'STOPPING=1',
  ])
  await server.ended()
})

test.each([
  ['a key that other users can read', { mode: 0o644 }, 42, /key .*server\.key can be read or changed by other users/],
  ['a key of another certificate', { swap: true }, 95, /cannot use certificate .*server\.crt with key/],
])('the server does not start with %s', async (_, { mode, swap }: { mode?: number; swap?: boolean }, code, says) => {
  await using server = await TlsServer.prepare()
  const { keyFile } = server.authority.issue('other', { subject: '/CN=other' })
  if (swap === true) server.configure({ lines: [`tls-server-key-file=${keyFile}`] })
  else chmodSync(join(server.dir, 'tls/server.key'), mode!)
  const result = await runAs(testUser, server.program, [`--config=${server.config}`, 'server'])
  expectRefusal(
    { ...result, stdout: result.stdout.replaceAll(/^.*INFO: .*\n/gm, '') },
    { code, says: [says], hint: /./ },
  )
})
