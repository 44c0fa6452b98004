import { mkdirSync, symlinkSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type pg from 'pg'
import { Daemon } from '../processes/daemon.ts'
import { describeRun, giveToTestUser, makeTestDir, pgtsProgram, runAs, testUser } from '../processes/test-user.ts'
import { freePorts } from '../stores/free-port.ts'
import { until } from '../until.ts'
import { type NodeSetup, PatroniNode } from './patroni-node.ts'

const SCOPE = 'main'

/** Nodes of Patroni, with etcd and a repository that they share. pgts is called `pgbackrest` there. */
export class PatroniSite implements AsyncDisposable {
  readonly nodes: PatroniNode[] = []

  private constructor(
    readonly dir: string,
    readonly etcdPort: number,
    readonly etcd: Daemon,
  ) {}

  static async start(): Promise<PatroniSite> {
    const dir = makeTestDir('patroni')
    const [clientPort = 0, peerPort = 0] = await freePorts(2)
    const client = `http://127.0.0.1:${clientPort}`
    const peer = `http://127.0.0.1:${peerPort}`
    const args = [
      ...['--name=etcd', `--data-dir=${dir}/etcd`, '--unsafe-no-fsync'],
      ...[`--listen-client-urls=${client}`, `--advertise-client-urls=${client}`],
      ...[`--listen-peer-urls=${peer}`, `--initial-advertise-peer-urls=${peer}`, `--initial-cluster=etcd=${peer}`],
    ]
    const etcd = new Daemon('etcd', 'etcd', args, join(dir, 'etcd.log'))
    mkdirSync(join(dir, 'repo'), { mode: 0o750 })
    symlinkSync(pgtsProgram(), join(dir, 'pgbackrest'))
    giveToTestUser(join(dir, 'repo'))
    const site = new PatroniSite(dir, clientPort, etcd)
    await etcd.until(() => site.#isHealthy())
    return site
  }

  async #isHealthy(): Promise<boolean> {
    try {
      return (await fetch(`http://127.0.0.1:${this.etcdPort}/health`)).ok
    } catch {
      return false
    }
  }

  /** Another node, not started yet. */
  async addNode(setup: Partial<NodeSetup> = {}): Promise<PatroniNode> {
    const [port = 0, restPort = 0] = await freePorts(2)
    const name = `node${this.nodes.length + 1}`
    const node = new PatroniNode({
      ...{ name, dir: join(this.dir, name), scope: SCOPE, stanza: 'main', port, restPort },
      ...{ etcdPort: this.etcdPort, repo: join(this.dir, 'repo'), program: join(this.dir, 'pgbackrest') },
      ...setup,
    })
    this.nodes.push(node)
    return node
  }

  /** The node that Patroni reports as leader. */
  async leader(): Promise<PatroniNode> {
    let found: PatroniNode | undefined
    const look = async () => {
      for (const node of this.nodes) if (node.setup.scope === SCOPE && (await node.isLeader())) found = node
      return found !== undefined
    }
    await until('a leader', look, { everyMs: 100, deadlineMs: 180_000, details: this.details })
    return found!
  }

  /** Wait until a node streams from the leader. */
  async untilStreaming(node: PatroniNode): Promise<void> {
    const streams = async () => {
      const leader = await this.leader()
      const sql = "select from pg_stat_replication where application_name = $1 and state = 'streaming'"
      return (await leader.query(sql, [node.name]).catch(() => [])).length > 0
    }
    await until(`${node.name} to stream`, streams, { everyMs: 100, deadlineMs: 180_000, details: this.details })
  }

  /** Wait for a standby that has every commit that is confirmed, so that a failover to it loses none. */
  async synchronousStandby(): Promise<PatroniNode> {
    let name: string | undefined
    const hasStandby = async () => {
      const { restPort } = (await this.leader()).setup
      const answer = await fetch(`http://127.0.0.1:${restPort}/cluster`)
      const { members } = (await answer.json()) as { members: { name: string; role: string }[] }
      name = members.find(({ role }) => role === 'sync_standby')?.name
      return name !== undefined
    }
    await until('a synchronous standby', hasStandby, { everyMs: 100, deadlineMs: 180_000, details: this.details })
    return this.nodes.find((node) => node.name === name)!
  }

  /** As when the lease of a failed leader ends. */
  async dropLeaderKey(): Promise<void> {
    const key = Buffer.from(`/service/${SCOPE}/leader`).toString('base64')
    const answer = await fetch(`http://127.0.0.1:${this.etcdPort}/v3/kv/deleterange`, {
      method: 'POST',
      body: JSON.stringify({ key }),
    })
    const { deleted } = (await answer.json()) as { deleted?: string }
    if (deleted !== '1') throw new Error(`etcd removed ${deleted ?? 0} keys`)
  }

  /** pgts with the configuration of a node. */
  async pgbackrest(node: PatroniNode, ...args: string[]): Promise<string> {
    const [program = '', ...words] = node.command.split(' ')
    const run = await runAs(testUser, program, [...words, ...args], { cwd: this.dir, deadlineMs: 120_000 })
    if (run.code !== 0) throw new Error(describeRun('pgbackrest', args, run))
    return run.stdout + run.stderr
  }

  details = (): string => this.nodes.map((node) => `== ${node.name}\n${node.log().slice(-3000)}`).join('\n')

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.nodes.map((node) => node[Symbol.asyncDispose]()))
    await this.etcd[Symbol.asyncDispose]()
  }
}

/** A client that inserts numbered rows into the leader, whichever that is, until it is stopped. */
export class Writer {
  #stopped = false
  readonly #done: Promise<void>

  /** `committed` is the last number whose commit was confirmed. */
  constructor(
    readonly site: PatroniSite,
    public committed = 0,
  ) {
    this.#done = this.#write()
  }

  async #write(): Promise<void> {
    while (!this.#stopped) {
      const client = await (await this.site.leader()).client().catch(() => undefined)
      if (client === undefined) continue
      try {
        // Slower than a standby reads WAL from the archive, so that it reaches the end and streams.
        for (; !this.#stopped; await sleep(50)) await this.#row(client)
      } catch {
        await sleep(50) // a failover; the row is inserted again if its commit was not confirmed and is lost
      } finally {
        await client.end().catch(() => undefined)
      }
    }
  }

  async #row(client: pg.Client): Promise<void> {
    await client.query(
      `insert into numbers select $1::int, string_agg(md5(i::text || $1::int::text), '')
         from generate_series(1, 300) i on conflict do nothing`,
      [this.committed + 1],
    )
    this.committed++
  }

  /** Wait until `count` more rows are committed. */
  async more(count: number): Promise<void> {
    const goal = this.committed + count
    await until(`row ${goal}`, () => this.committed >= goal, { deadlineMs: 180_000, details: this.site.details })
  }

  async stop(): Promise<void> {
    this.#stopped = true
    await this.#done
  }
}
