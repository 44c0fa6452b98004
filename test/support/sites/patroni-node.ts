import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import pg from 'pg'
import { Daemon } from '../processes/daemon.ts'
import { PATRONI_POSTGRES } from '../processes/programs.ts'
import { allProcesses, descendantsOf, isGone, signal } from '../processes/processes.ts'
import { atEnd, cleanEnv, giveToTestUser, testUser } from '../processes/test-user.ts'
import { yamlDocuments } from '../run/doc-blocks.ts'
import { until } from '../until.ts'

/** What the guide says about each node and about a bootstrap from a backup. */
interface Guide {
  readonly postgresql: {
    readonly parameters: Readonly<Record<string, string>>
    readonly recovery_conf: { readonly restore_command: string }
    readonly pgts: { readonly command: string }
  }
  readonly bootstrap: { readonly pgts: { readonly command: string } }
}
const guide = Object.assign({}, ...yamlDocuments('docs/guide/patroni.md')) as Guide

export interface NodeSetup {
  readonly name: string
  readonly dir: string
  readonly scope: string
  readonly etcdPort: number
  readonly port: number
  readonly restPort: number
  readonly repo: string
  /** pgts under the name pgbackrest. */
  readonly program: string
  readonly stanza: string
  /** Bootstrap from the backup of the stanza main to this target, instead of by initdb. */
  readonly target?: { readonly name: string; readonly timeline: number }
}

/** One member of a cluster of Patroni, as if it had a host of its own: paths, locks, spool and configuration are not shared. */
export class PatroniNode implements AsyncDisposable {
  #daemon: Daemon | undefined

  constructor(readonly setup: NodeSetup) {
    for (const name of ['log', 'lock', 'spool', 'data'])
      mkdirSync(join(setup.dir, name), { recursive: true, mode: 0o700 })
    writeFileSync(this.config, this.#pgbackrestConf(), { mode: 0o640 })
    // YAML contains JSON.
    writeFileSync(join(setup.dir, 'patroni.yml'), JSON.stringify(this.#patroniYaml(), null, 2), { mode: 0o640 })
    giveToTestUser(setup.dir)
    atEnd(() => this.#killAll())
  }

  get name(): string {
    return this.setup.name
  }

  get dataDir(): string {
    return join(this.setup.dir, 'data')
  }

  get config(): string {
    return join(this.setup.dir, 'pgbackrest.conf')
  }

  /** `pgbackrest --config=... --stanza=...` */
  get command(): string {
    return `${this.setup.program} --config=${this.config} --stanza=${this.setup.stanza}`
  }

  /** Start Patroni, which starts the server. */
  start(): void {
    const user = ['--reuid', testUser.uid, '--regid', testUser.gid, '--clear-groups'].map(String)
    // A change of the user resets the signal that ends a child with its parent.
    const words = [
      ...(testUser.switched ? user : []),
      '--pdeathsig',
      'KILL',
      'patroni',
      `${this.setup.dir}/patroni.yml`,
    ]
    const log = join(this.setup.dir, 'log/patroni.log')
    this.#daemon = new Daemon(`patroni of ${this.name}`, 'setpriv', words, log, cleanEnv())
  }

  /** Everything that Patroni logged on this node. */
  log(): string {
    const path = join(this.setup.dir, 'log/patroni.log')
    return existsSync(path) ? readFileSync(path, 'utf8') : ''
  }

  /** Patroni's own view; undefined while it does not answer. */
  async status(): Promise<{ role: string; state: string; timeline?: number } | undefined> {
    try {
      const answer = await fetch(`http://127.0.0.1:${this.setup.restPort}/patroni`)
      return (await answer.json()) as { role: string; state: string; timeline?: number }
    } catch {
      return undefined
    }
  }

  async isLeader(): Promise<boolean> {
    const status = await this.status()
    return status?.role === 'master' && status.state === 'running'
  }

  async client(): Promise<pg.Client> {
    const { dir, port } = this.setup
    const client = new pg.Client({ host: dir, port, user: 'postgres', database: 'postgres' })
    client.on('error', () => undefined) // the server has ended; the next query reports it
    await client.connect()
    return client
  }

  async query(sql: string, values: readonly unknown[] = []): Promise<Record<string, unknown>[]> {
    const client = await this.client()
    try {
      return (await client.query<Record<string, unknown>>(sql, [...values])).rows
    } finally {
      await client.end()
    }
  }

  /** Finished segments that are not archived. */
  ready(): string[] {
    return readdirSync(join(this.dataDir, 'pg_wal/archive_status')).flatMap(
      (name) => /^([0-9A-F]{24})\.ready$/.exec(name)?.[1] ?? [],
    )
  }

  /** SIGKILL for every process of this node at once, as in a power cut of its host. */
  async kill(): Promise<void> {
    const pids = this.#killAll()
    await until(`the end of ${this.name}`, () => pids.every(isGone))
    await this.#daemon?.[Symbol.asyncDispose]()
  }

  #killAll(): number[] {
    const roots = allProcesses().filter(({ pid, args }) => this.#isOurs(pid, args))
    const pids = roots.flatMap(({ pid }) => [pid, ...descendantsOf(pid).map((child) => child.pid)])
    for (const pid of pids) signal(pid, 'SIGKILL')
    return pids
  }

  /** Patroni, the server, or a command that one of them or pgts started. */
  #isOurs(pid: number, args: readonly string[]): boolean {
    return args.some((word) => word.includes(`${this.setup.dir}/`)) || pid === this.#postmaster()
  }

  #postmaster(): number | undefined {
    try {
      return Number(readFileSync(join(this.dataDir, 'postmaster.pid'), 'utf8').split('\n')[0])
    } catch {
      return undefined
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill()
  }

  #pgbackrestConf(): string {
    const { dir, repo, stanza, port } = this.setup
    return `[global]
repo1-path=${repo}
repo1-retention-full=9
log-path=${dir}/log
lock-path=${dir}/lock
spool-path=${dir}/spool
archive-async=y
process-max=2
start-fast=y
[${stanza}]
pg1-path=${this.dataDir}
pg1-port=${port}
pg1-socket-path=${dir}
pg1-user=postgres
`
  }

  /** A command of the guide, as it is called on this node. */
  #commandOf(text: string): string {
    return text.replace(/^pgts --stanza=main/, this.command)
  }

  #bootstrap({ name, timeline }: { name: string; timeline: number }) {
    const { program, dir } = this.setup
    const command = guide.bootstrap.pgts.command
      .replace(/^pgts/, `${program} --config=${this.config} --pg1-path=${this.dataDir}`)
      .replace(
        /--type=time "--target=[^"]*"/,
        `--type=name --target=${name} --target-timeline=0x${timeline.toString(16)}`,
      )
    return { ...guide.bootstrap, pgts: { ...guide.bootstrap.pgts, command: `${command} --link-map=pg_wal=${dir}/wal` } }
  }

  #patroniYaml(): Readonly<Record<string, unknown>> {
    const { name, dir, scope, etcdPort, port, restPort, target } = this.setup
    const { parameters, recovery_conf: recovery, pgts } = guide.postgresql
    const rest = `127.0.0.1:${restPort}`
    const server = `127.0.0.1:${port}`
    return {
      name,
      scope,
      restapi: { listen: rest, connect_address: rest },
      etcd3: { host: `127.0.0.1:${etcdPort}` },
      bootstrap: { dcs: DCS, initdb: INITDB, ...(target === undefined ? {} : this.#bootstrap(target)) },
      postgresql: {
        listen: server,
        connect_address: server,
        data_dir: this.dataDir,
        bin_dir: PATRONI_POSTGRES,
        pgpass: join(dir, 'pgpass'),
        use_unix_socket: true,
        authentication: {
          superuser: { username: 'postgres', password: 'for tests' },
          replication: { username: 'replicator', password: 'for tests' },
        },
        pg_hba: ['local all all trust', 'host all all 127.0.0.1/32 trust', 'host replication all 127.0.0.1/32 trust'],
        parameters: {
          unix_socket_directories: dir,
          ...parameters,
          archive_command: this.#commandOf(parameters['archive_command']!),
        },
        recovery_conf: { restore_command: this.#commandOf(recovery.restore_command) },
        create_replica_methods: ['pgts'],
        pgts: { ...pgts, command: `${this.#commandOf(pgts.command)} --repo=1 --link-map=pg_wal=${dir}/wal` },
      },
    }
  }
}

/** A lease that no slow machine loses; tests remove the leader's key instead of waiting for it. */
const DCS = {
  ttl: 120,
  loop_wait: 1,
  retry_timeout: 30,
  synchronous_mode: true,
  postgresql: {
    use_pg_rewind: true,
    parameters: {
      archive_mode: 'on',
      fsync: 'off',
      shared_buffers: '16MB',
      max_connections: 30,
      wal_log_hints: 'on',
      wal_keep_size: '0',
    },
  },
}

const INITDB = [{ encoding: 'UTF8' }, { locale: 'C' }, { 'wal-segsize': '1' }, 'data-checksums', 'no-sync']
