import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { NetworkProxy, type NetworkFaults } from '../../test/support/faults/network-proxy.ts'
import { type IssuedCertificate, TestAuthority } from '../../test/support/hosts/certificates.ts'
import type { Hosts, TestHost } from '../../test/support/hosts/hosts.ts'
import { Daemon } from '../../test/support/processes/daemon.ts'
import { cleanEnv } from '../../test/support/processes/test-user.ts'
import { freePorts } from '../../test/support/stores/free-port.ts'
import type { HostProgram } from './host-programs.ts'
import type { Program } from './programs.ts'

type Options = Readonly<Record<string, string | number>>

/** The other host, as one program reaches it. */
interface OtherHost {
  readonly name: Program['name']
  readonly host: TestHost
  readonly command: string
  readonly config: string
}

/** How the programs of two hosts are connected. */
export interface Transport extends AsyncDisposable {
  /** Options with which a program reaches the other host. */
  optionsFor(prefix: 'pg1' | 'repo1', other: OtherHost): Options
  /** Options of [global] on a host. */
  ownOptions(name: Program['name'], host: TestHost): Options
  /** Starts what has to run before the first command. */
  serve(programs: readonly HostProgram[]): Promise<void>
  /** See `TreeCpuOptions`. */
  readonly unwaited: readonly number[]
}

export function sshTransport(): Transport {
  return {
    optionsFor: (prefix, { host, command, config }) => ({
      [`${prefix}-host`]: host.name,
      [`${prefix}-host-user`]: host.user.name,
      [`${prefix}-host-cmd`]: command,
      [`${prefix}-host-config`]: config,
    }),
    ownOptions: () => ({}),
    serve: async () => undefined,
    unwaited: [],
    [Symbol.asyncDispose]: async () => undefined,
  }
}

interface Endpoint {
  readonly port: number
  /** Where clients connect: the network before `port`. */
  readonly clientPort: number
}

/** On each host a server of each program, with its own certificate. */
export class TlsTransport implements Transport {
  readonly unwaited: number[] = []
  readonly #hosts: Hosts
  readonly #caFile: string
  readonly #certificates = new Map<TestHost, IssuedCertificate>()
  readonly #endpoints = new Map<string, Endpoint>()
  readonly #opened: AsyncDisposable[] = []

  private constructor(hosts: Hosts) {
    this.#hosts = hosts
    const dir = join(hosts.dir, 'tls')
    mkdirSync(dir)
    const authority = new TestAuthority(dir)
    this.#caFile = authority.caFile
    for (const host of [hosts.postgres, hosts.repository]) {
      const names = ['DNS:localhost']
      const issued = authority.issue(host.name, { subject: `/CN=${host.name}`, names })
      for (const path of [issued.certFile, issued.keyFile]) host.give(path)
      this.#certificates.set(host, issued)
    }
  }

  static async start(hosts: Hosts, network: NetworkFaults | undefined): Promise<TlsTransport> {
    const transport = new TlsTransport(hosts)
    for (const host of [hosts.postgres, hosts.repository]) {
      for (const name of ['pgts', 'pgbackrest'] as const) await transport.#listen(endpointName(name, host), network)
    }
    return transport
  }

  async #listen(name: string, network: NetworkFaults | undefined): Promise<void> {
    const [port = 0] = await freePorts(1)
    const proxy = network === undefined ? undefined : await NetworkProxy.start({ host: '127.0.0.1', port }, network)
    if (proxy !== undefined) this.#opened.push(proxy)
    this.#endpoints.set(name, { port, clientPort: proxy?.port ?? port })
  }

  optionsFor(prefix: 'pg1' | 'repo1', { name, host, config }: OtherHost): Options {
    const { postgres, repository } = this.#hosts
    const { certFile, keyFile } = this.#certificates.get(host === postgres ? repository : postgres)!
    return {
      [`${prefix}-host`]: 'localhost',
      [`${prefix}-host-type`]: 'tls',
      [`${prefix}-host-port`]: this.#endpoints.get(endpointName(name, host))!.clientPort,
      [`${prefix}-host-ca-file`]: this.#caFile,
      [`${prefix}-host-cert-file`]: certFile,
      [`${prefix}-host-key-file`]: keyFile,
      // A client of pgbackrest chooses the configuration that its server reads.
      ...(name === 'pgbackrest' ? { [`${prefix}-host-config`]: config } : {}),
    }
  }

  ownOptions(name: Program['name'], host: TestHost): Options {
    const { certFile, keyFile } = this.#certificates.get(host)!
    const { postgres, repository } = this.#hosts
    return {
      'tls-server-address': '127.0.0.1',
      'tls-server-port': this.#endpoints.get(endpointName(name, host))!.port,
      'tls-server-ca-file': this.#caFile,
      'tls-server-cert-file': certFile,
      'tls-server-key-file': keyFile,
      'tls-server-auth': `${(host === postgres ? repository : postgres).name}=main`,
    }
  }

  async serve(programs: readonly HostProgram[]): Promise<void> {
    const { postgres, repository } = this.#hosts
    for (const { name, program, config, postgresProgram, postgresConfig } of programs) {
      await this.#serve(name, repository, [program, `--config=${config}`, 'server'])
      await this.#serve(name, postgres, [postgresProgram, `--config=${postgresConfig}`, 'server'])
    }
  }

  async #serve(name: Program['name'], host: TestHost, words: readonly string[]): Promise<void> {
    const { user, dir, env } = host
    // A change of the user clears the signal that `Daemon` has set.
    const as = ['--pdeathsig', 'KILL', `--reuid=${user.uid}`, `--regid=${user.gid}`, '--clear-groups', ...words]
    const daemon = new Daemon(`${name} server`, 'setpriv', as, join(dir, `${name}-server.log`), cleanEnv(user, env))
    this.#opened.push(daemon)
    if (name === 'pgbackrest') this.unwaited.push(daemon.pid)
    const { port } = this.#endpoints.get(endpointName(name, host))!
    const [program, config] = words
    const ping = [config!, `--tls-server-port=${port}`, '--io-timeout=5', 'server-ping', 'localhost']
    await daemon.until(async () => (await host.run(program!, ping)).code === 0)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const one of this.#opened.reverse()) await one[Symbol.asyncDispose]()
  }
}

function endpointName(name: Program['name'], host: TestHost): string {
  return `${name} on ${host.name}`
}
