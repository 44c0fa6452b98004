import { chmodSync, chownSync, mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { NetworkProxy, type NetworkFaults } from '../faults/network-proxy.ts'
import {
  atEnd,
  describeRun,
  makeTestDir,
  pgtsProgram,
  reachableNode,
  runAs,
  testUser,
  type RunOptions,
  type RunResult,
  type TestUser,
} from '../processes/test-user.ts'
import { allProcesses } from '../processes/processes.ts'
import { PGBACKREST } from '../processes/programs.ts'
import type { Namespace, NamespacePair } from './namespaces.ts'
import { makeKey, Sshd } from './sshd.ts'
import { canSwitchUsers, systemUser } from './os-users.ts'

export { canSwitchUsers }

/** The user of the repository host; PostgreSQL's host has the test user, who runs the servers. */
const REPOSITORY_USER = 'pgts-repo'

/**
 * A host: a user with its own directory (mode 0750), configuration, lock path, spool and logs. Programs find the
 * configuration by their environment, in a session of ssh, too.
 */
export class TestHost {
  /** `bin` is in the PATH, with `pgts` and a `ssh` that knows the keys. */
  constructor(
    readonly name: string,
    readonly user: TestUser,
    readonly dir: string,
    readonly namespace?: Namespace,
  ) {
    for (const path of ['', 'bin', 'ssh', 'lock', 'log', 'spool', 'repo']) {
      mkdirSync(join(dir, path), { recursive: true })
      this.give(join(dir, path))
      chmodSync(join(dir, path), 0o750)
    }
    // Both programs find them by their paths, as the other host's configuration names them.
    symlinkSync(pgtsProgram(), join(dir, 'bin/pgts'))
    this.configure({})
  }

  get configFile(): string {
    return join(this.dir, 'pgbackrest.conf')
  }

  get env(): Readonly<Record<string, string>> {
    return {
      PATH: `${this.dir}/bin:${dirname(reachableNode())}:/usr/local/bin:/usr/bin:/bin`,
      PGBACKREST_CONFIG: this.configFile,
    }
  }

  give(path: string): void {
    chownSync(path, this.user.uid, this.user.gid)
  }

  write(name: string, text: string, mode = 0o640): void {
    const path = join(this.dir, name)
    writeFileSync(path, text, { mode })
    this.give(path)
    chmodSync(path, mode)
  }

  /** Replaces the configuration: sections and their options. `[global]` has the paths of this host already. */
  configure(sections: Readonly<Record<string, Readonly<Record<string, string>>>>): void {
    const { global, ...others } = sections
    const paths = {
      'lock-path': `${this.dir}/lock`,
      'log-path': `${this.dir}/log`,
      'spool-path': `${this.dir}/spool`,
      'log-level-console': 'info',
      'log-level-file': 'off',
    }
    const all = Object.entries({ global: { ...paths, ...global }, ...others })
    const lines = all.flatMap(([name, options]) => [
      `[${name}]`,
      ...Object.entries(options).map(([option, value]) => `${option}=${value}`),
    ])
    this.write('pgbackrest.conf', `${lines.join('\n')}\n`)
  }

  pgts(args: readonly string[], options: RunOptions = {}): Promise<RunResult> {
    return this.run(join(this.dir, 'bin/pgts'), args, options)
  }

  /** As `pgts`; an exit code other than 0 is an error that shows the output. */
  async pgtsOk(...args: string[]): Promise<RunResult> {
    const result = await this.pgts(args)
    if (result.code !== 0) throw new Error(`${this.name}: ${describeRun('pgts', args, result)}`)
    return result
  }

  pgbackrest(args: readonly string[], options: RunOptions = {}): Promise<RunResult> {
    return this.run(PGBACKREST, args, options)
  }

  run(program: string, args: readonly string[], options: RunOptions = {}): Promise<RunResult> {
    const env = { ...this.env, ...options.env }
    const start = () => runAs(this.user, program, args, { cwd: '/', deadlineMs: 120_000, ...options, env })
    return this.namespace === undefined ? start() : this.namespace.run(start)
  }

  /** What `work` starts is in the network of this host. */
  inside<T>(work: () => Promise<T>): Promise<T> {
    return this.namespace === undefined ? work() : this.namespace.inside(work)
  }
}

export interface HostsOptions {
  /** The network between the hosts; it can be changed later. Absent: connections are direct. */
  readonly network?: NetworkFaults
  /** Each host has a network of its own, and an sshd there. */
  readonly namespaces?: NamespacePair
}

/**
 * PostgreSQL's host and a repository host, connected by ssh in both directions. Their names for ssh are `pg-host` and
 * `repo-host`. With `-direct` after the name they are reached without the network between them. With `-forced` the key
 * is the one of pgBackRest's guide, whose entry runs `pgts` with the arguments of the client. Needs root.
 */
export class Hosts implements AsyncDisposable {
  private constructor(
    readonly dir: string,
    readonly postgres: TestHost,
    readonly repository: TestHost,
    /** Of the repository host; without namespaces of both. */
    readonly sshd: Sshd,
    /** Of PostgreSQL's host. */
    readonly postgresSshd: Sshd,
    readonly network: NetworkProxy | undefined,
  ) {}

  static async start({ network, namespaces }: HostsOptions = {}): Promise<Hosts> {
    const dir = makeTestDir('hosts')
    // Removed here: the other user owns a part of it.
    if (process.env['PGTS_TEST_KEEP'] === undefined) atEnd(() => rmSync(dir, { recursive: true, force: true }))
    const postgres = new TestHost('pg-host', testUser, join(dir, 'pg'), namespaces?.postgres)
    const user = systemUser(REPOSITORY_USER)
    const repository = new TestHost('repo-host', user, join(dir, 'repo'), namespaces?.repository)
    const both = [postgres, repository]
    const authorizedKeys = both.flatMap(makeKeys)
    const accounts = both.map(({ user, env }) => ({ user, env, authorizedKeys }))
    const startSshd = (host: TestHost) => {
      const sshDir = join(dir, `sshd-${host.name}`)
      mkdirSync(sshDir)
      return host.inside(() => Sshd.start(sshDir, accounts, host.namespace?.address))
    }
    const sshd = await startSshd(repository)
    const postgresSshd = namespaces === undefined ? sshd : await startSshd(postgres)
    const proxy =
      network === undefined ? undefined : await NetworkProxy.start({ host: '127.0.0.1', port: sshd.port }, network)
    writeClient(postgres, sshd, proxy?.port)
    writeClient(repository, postgresSshd, proxy?.port)
    return new Hosts(dir, postgres, repository, sshd, postgresSshd, proxy)
  }

  /** Process ids of the programs that serve a connection at this host, also after sshd has ended. */
  servingProcesses(host: TestHost): number[] {
    const served = allProcesses().filter(({ args }) => args.at(-1)?.endsWith(':remote') === true)
    return served.map(({ pid }) => pid).filter((pid) => environmentOf(pid).includes(host.configFile))
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.network?.[Symbol.asyncDispose]()
    await this.sshd[Symbol.asyncDispose]()
    await this.postgresSshd[Symbol.asyncDispose]()
  }
}

function environmentOf(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/environ`, 'utf8')
  } catch {
    return ''
  }
}

/** @returns lines of authorized_keys */
function makeKeys({ dir, user }: TestHost): string[] {
  const [plain, forced] = ['plain', 'forced'].map((name) => makeKey(join(dir, 'ssh', name), user))
  return [plain!, `restrict,command="pgts \${SSH_ORIGINAL_COMMAND#* }" ${forced}`]
}

function writeClient(host: TestHost, { address, port: directPort, hostKey }: Sshd, port = directPort): void {
  const ssh = join(host.dir, 'ssh')
  host.write('ssh/known_hosts', `test ${hostKey}\n`)
  host.write(
    'ssh/config',
    `Host *-forced
  IdentityFile ${ssh}/forced
Host *-direct
  Port ${directPort}
Host *
  HostName ${address}
  Port ${port}
  HostKeyAlias test
  IdentityFile ${ssh}/plain
  IdentitiesOnly yes
  UserKnownHostsFile ${ssh}/known_hosts
  StrictHostKeyChecking yes
`,
  )
  host.write('bin/ssh', `#!/bin/sh\nexec /usr/bin/ssh -F ${ssh}/config "$@"\n`, 0o750)
}
