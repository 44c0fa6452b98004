import { execFile } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { chmodSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { Daemon } from '../processes/daemon.ts'
import { freePorts } from './free-port.ts'
import { cephConf } from './s3-server-conf.ts'
import { makeCertificates } from './tls.ts'

/** Programs of the Debian packages radosgw, ceph-mon, ceph-osd and ceph-common. */
export const S3_SERVER_PROGRAMS = ['radosgw', 'ceph-mon', 'ceph-osd', 'ceph', 'radosgw-admin', 'monmaptool'] as const

/** A running S3 server as plain data, for other processes. */
export interface S3ServerAddress {
  readonly host: '127.0.0.1'
  readonly httpPort: number
  readonly httpsPort: number
  readonly caFile: string
  readonly region: string
  readonly key: string
  readonly secret: string
  /** Directory of the server, with its logs. */
  readonly dir: string
  readonly gatewayPid: number
}

/** A user without permissions on the buckets of others. */
export const STRANGER = { key: 'strangerkey', secret: 'strangersecret456' } as const

const run = promisify(execFile)

/**
 * A real S3 server: Ceph RADOS Gateway on a cluster of one, in a directory of its own. It listens on 127.0.0.1, in plain
 * http and in TLS; path style works on the address, host style on names below `localhost`. Takes some seconds to start.
 */
export class S3Server implements AsyncDisposable {
  readonly #daemons: Daemon[] = []
  constructor(readonly address: S3ServerAddress) {}

  static async start(dir: string): Promise<S3Server> {
    mkdirSync(dir, { recursive: true })
    chmodSync(dir, 0o755)
    for (const name of ['mon', 'osd', 'run', 'log', 'gateway']) mkdirSync(join(dir, name))
    const { caFile, certFile, keyFile } = makeCertificates(join(dir, 'tls'))
    const [httpPort = 0, httpsPort = 0, monitorPort = 0] = await freePorts(3)
    const clusterId = randomUUID()
    const place = { dir, clusterId, httpPort, httpsPort, monitorPort, certFile, keyFile }
    writeFileSync(join(dir, 'ceph.conf'), cephConf(place))
    const daemons: Daemon[] = []
    try {
      await startCluster(dir, clusterId, monitorPort, daemons)
      const [key, secret] = ['pgtskey', 'pgtssecret123']
      await addUser(dir, { key, secret })
      await addUser(dir, STRANGER)
      const gateway = daemon(dir, daemons, 'radosgw', ['-n', 'client.admin'])
      await gateway.until(() => accepts(httpPort))
      const gatewayPid = gateway.pid
      const region = 'us-east-1'
      const server = new S3Server({
        ...{ host: '127.0.0.1', httpPort, httpsPort, caFile, region, key, secret, dir, gatewayPid },
      })
      server.#daemons.push(...daemons)
      return server
    } catch (error) {
      await stopAll(daemons)
      throw error
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await stopAll(this.#daemons)
    if (process.env['PGTS_TEST_KEEP'] === undefined) rmSync(this.address.dir, { recursive: true, force: true })
  }
}

/** The requests so far, a line for each: method, path, status, size and time. */
export function s3Requests(address: S3ServerAddress): string[] {
  const log = readFileSync(join(address.dir, 'log/client.admin.log'), 'utf8')
  return [...log.matchAll(/ beast: \S+ (.*)/g)].map((match) => match[1] ?? '')
}

/** Stop the server, so that requests hang. Applies to all clients: not while other tests share the server. */
export function freezeS3(address: S3ServerAddress): void {
  process.kill(address.gatewayPid, 'SIGSTOP')
}

export function thawS3(address: S3ServerAddress): void {
  process.kill(address.gatewayPid, 'SIGCONT')
}

function conf(dir: string): string {
  return join(dir, 'ceph.conf')
}

function daemon(dir: string, daemons: Daemon[], program: string, args: readonly string[]): Daemon {
  const started = new Daemon(program, program, ['-c', conf(dir), ...args, '-f'], join(dir, 'log', `${program}.out`))
  daemons.push(started)
  return started
}

/** Run one of Ceph's commands to its end. */
async function ceph(dir: string, args: readonly string[], input?: string): Promise<string> {
  const child = run('ceph', ['-c', conf(dir), '--connect-timeout', '20', ...args], { timeout: 60_000 })
  child.child.stdin?.end(input)
  return (await child).stdout
}

/** Monitor and store, empty, up and in. */
async function startCluster(dir: string, clusterId: string, monitorPort: number, daemons: Daemon[]): Promise<void> {
  const at = (...parts: string[]) => join(dir, ...parts)
  await run('ceph-authtool', ['--create-keyring', at('keyring'), '--gen-key', '-n', 'mon.', '--cap', 'mon', 'allow *'])
  const allowed = ['mon', 'osd', 'mgr'].flatMap((what) => ['--cap', what, 'allow *'])
  await run('ceph-authtool', [at('keyring'), '--gen-key', '-n', 'client.admin', ...allowed])
  const storeKey = (await run('ceph-authtool', ['--gen-print-key'])).stdout.trim()
  await run('ceph-authtool', ['--create-keyring', at('osd/keyring'), '-n', 'osd.0', '--add-key', storeKey])
  const monitor = ['--addv', 'a', `[v2:127.0.0.1:${monitorPort}]`]
  await run('monmaptool', ['--create', '--fsid', clusterId, ...monitor, at('monmap')])
  const make = ['--mkfs', '-i', 'a', '--monmap', at('monmap'), '--keyring', at('keyring')]
  await run('ceph-mon', ['-c', conf(dir), ...make])
  await daemon(dir, daemons, 'ceph-mon', ['-i', 'a']).until(() =>
    run('ceph', ['-c', conf(dir), 'mon', 'stat'], { timeout: 3000 }).then(
      () => true,
      () => false,
    ),
  )
  const storeId = randomUUID()
  await ceph(dir, ['osd', 'new', storeId, '0', '-i', '-'], JSON.stringify({ cephx_secret: storeKey }))
  await run('ceph-osd', ['-c', conf(dir), '-i', '0', '--mkfs', '--osd-uuid', storeId])
  await daemon(dir, daemons, 'ceph-osd', ['-i', '0']).until(async () => /\b1 up/.test(await ceph(dir, ['osd', 'stat'])))
}

async function addUser(dir: string, { key, secret }: { key: string; secret: string }): Promise<void> {
  const user = [`--uid=${key}`, `--display-name=${key}`, `--access-key=${key}`, `--secret-key=${secret}`]
  await run('radosgw-admin', ['-c', conf(dir), 'user', 'create', ...user], { timeout: 120_000 })
}

/** Does a server listen on this port of 127.0.0.1? */
export function accepts(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1')
    const done = (answer: boolean) => {
      socket.destroy()
      resolve(answer)
    }
    socket.once('connect', () => done(true))
    socket.once('error', () => done(false))
  })
}

/** The gateway first, because it would wait for the others. */
async function stopAll(daemons: readonly Daemon[]): Promise<void> {
  for (const each of daemons.toReversed()) await each[Symbol.asyncDispose]()
}

export function s3ServerInstalled(): boolean {
  const path = (process.env['PATH'] ?? '').split(':')
  return S3_SERVER_PROGRAMS.every((program) => path.some((dir) => existsSync(join(dir, program))))
}
