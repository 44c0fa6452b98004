import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { canSwitchUsers, Hosts, type TestHost } from '../support/hosts/hosts.ts'
import { startCluster, type Cluster } from '../support/postgres/postgres.ts'
import type { RunResult } from '../support/processes/test-user.ts'
import { until } from '../support/until.ts'
import { hostsApart } from './host-network.ts'

/** Positions at which each connection of a command is cut, in each direction. */
const all = process.env['PGTS_TEST_CUTS'] === 'all'
const CUTS = all ? 25 : 2
/** For the tests of all cuts. */
const TIMEOUT_MS = CUTS * 240_000
const STANZA = '--stanza=main'

describe.runIf(canSwitchUsers)('a command whose connections to the repository host are cut', () => {
  let hosts: Hosts
  let cluster: Cluster
  beforeAll(async () => {
    hosts = await Hosts.start({ network: {} })
    const { postgres, repository } = hosts
    // The server archives without the network that is cut.
    const archive = `${postgres.dir}/bin/pgts --config=${postgres.dir}/archive.conf ${STANZA} archive-push %p`
    cluster = await startCluster({ conf: { archive_mode: 'on', archive_command: archive } })
    repository.configure({
      global: {
        'repo1-path': `${repository.dir}/repo`,
        'cmd-ssh': `${repository.dir}/bin/ssh`,
        'repo1-retention-full': '2',
        'process-max': '2',
        'start-fast': 'y',
      },
      // For a backup that is pulled.
      main: {
        ...cluster.pgOptions(),
        'pg1-host': 'pg-host',
        'pg1-host-user': postgres.user.name,
        'pg1-host-cmd': `${postgres.dir}/bin/pgts`,
      },
    })
    postgres.configure({
      global: {
        'cmd-ssh': `${postgres.dir}/bin/ssh`,
        'repo1-host': 'repo-host',
        'repo1-host-user': repository.user.name,
        'repo1-host-cmd': `${repository.dir}/bin/pgts`,
        'repo1-retention-full': '2',
        'process-max': '2',
        'start-fast': 'y',
      },
      main: cluster.pgOptions(),
    })
    const config = readFileSync(postgres.configFile, 'utf8')
    postgres.write('archive.conf', config.replace('repo1-host=repo-host\n', 'repo1-host=repo-host-direct\n'))
    await postgres.pgtsOk(STANZA, 'stanza-create')
    // The first backup of a stanza reads more than those that the cuts are planned for.
    await postgres.pgtsOk(STANZA, 'backup')
  })
  afterAll(async () => {
    await cluster.stop('immediate')
    await hosts[Symbol.asyncDispose]()
  })

  /** The bytes of a run that is not cut. */
  async function bytesOf(host: TestHost, args: readonly string[]): Promise<Readonly<Record<'up' | 'down', number>>> {
    const { counters } = hosts.network!
    const { upBytes, downBytes } = counters
    await host.pgtsOk(...args)
    return { up: counters.upBytes - upBytes, down: counters.downBytes - downBytes }
  }

  /**
   * Runs a command for each cut, and requires that it ends by itself with an exit code of its own, that no process is
   * left at the other end, and that the next run succeeds.
   */
  async function cutAll(
    args: readonly string[],
    again: () => Promise<unknown>,
    { prepare, from = hosts.postgres }: { readonly prepare?: () => void; readonly from?: TestHost } = {},
  ): Promise<void> {
    const to = from === hosts.postgres ? hosts.repository : hosts.postgres
    prepare?.()
    const bytes = await bytesOf(from, args)
    const results: RunResult[] = []
    let reached = 0
    for (const direction of ['up', 'down'] as const) {
      for (let cut = 1; cut <= CUTS; cut++) {
        prepare?.()
        const everyBytes = Math.floor((bytes[direction] * cut) / (CUTS + 1))
        hosts.network!.set({ strike: { direction, everyBytes, how: cut % 2 === 0 ? 'close' : 'reset', times: 1 } })
        const result = await from.pgts(args)
        // The number of bytes depends on timing a little.
        reached += hosts.network!.counters.struck
        hosts.network!.set({})
        results.push(result)
        expect([result.timedOut, result.signal]).toEqual([false, null])
        // 0: a worker has repeated its job over a new connection.
        expect([0, 49, 50]).toContain(result.code)
        if (result.code !== 0) expect(result.stdout + result.stderr).toContain(`on '${to.name}'`)
        await until('the end of the programs there', () => hosts.servingProcesses(to).length === 0)
        await again()
      }
    }
    expect(reached).toBeGreaterThanOrEqual(CUTS)
    // Most bytes of a backup that is pulled pass through the workers, which repeat their jobs.
    if (from === hosts.postgres) expect(results.filter(({ code }) => code !== 0).length).toBeGreaterThan(0)
  }

  test(
    'info reports the lost connection',
    async () => {
      await cutAll([STANZA, 'info'], () => hosts.postgres.pgtsOk(STANZA, 'info'))
    },
    TIMEOUT_MS,
  )

  test(
    'backup leaves no lock, and the next one succeeds',
    async () => {
      await cutAll([STANZA, '--type=full', 'backup'], () => hosts.postgres.pgtsOk(STANZA, '--type=incr', 'backup'))
      const { stdout } = await hosts.postgres.pgtsOk(STANZA, 'verify')
      expect(stdout).toContain('errors = 0')
    },
    TIMEOUT_MS,
  )

  test(
    'archive-push leaves no incomplete file, and the next one stores the segment',
    async () => {
      const directory = join(hosts.repository.dir, 'repo/archive/main/15-1')
      const archived = () =>
        readdirSync(directory, { recursive: true, encoding: 'utf8' }).filter((name) =>
          /\/[0-9A-F]{24}[^/]*$/.test(name),
        )
      const [row] = await cluster.query('select pg_walfile_name(pg_current_wal_lsn()) as segment')
      const segment = String(row!['segment'])
      await cluster.query('select pg_switch_wal()')
      await until('the segment in the archive', () => archived().some((name) => name.includes(segment)))
      const push = [STANZA, 'archive-push', join(cluster.dataDir, 'pg_wal', segment)]
      await cutAll(
        push,
        async () => {
          await hosts.postgres.pgtsOk(...push)
          expect(archived().filter((name) => name.includes(segment)).length).toBe(1)
        },
        {
          prepare: () => {
            for (const name of archived()) if (name.includes(segment)) rmSync(join(directory, name))
          },
        },
      )
    },
    TIMEOUT_MS,
  )

  if (all) more()

  function more(): void {
    test(
      'restore ends, and the next one completes the directory',
      async () => {
        const target = join(hosts.postgres.dir, 'restored')
        const restore = [STANZA, `--pg1-path=${target}`, '--type=none', 'restore']
        const prepare = () => {
          rmSync(target, { recursive: true, force: true })
          mkdirSync(target, { mode: 0o700 })
          hosts.postgres.give(target)
        }
        const again = async () => {
          await hosts.postgres.pgtsOk('--delta', ...restore)
          expect(existsSync(join(target, 'global/pg_control'))).toBe(true)
        }
        await cutAll(restore, again, { prepare })
      },
      TIMEOUT_MS,
    )

    test(
      'backup that is pulled leaves no lock and no session, and the next one succeeds',
      async () => {
        const { repository } = hosts
        const again = () => repository.pgtsOk(STANZA, '--type=incr', 'backup')
        await cutAll([STANZA, '--type=full', 'backup'], again, { from: repository })
        expect((await repository.pgtsOk(STANZA, 'verify')).stdout).toContain('errors = 0')
      },
      TIMEOUT_MS,
    )
  }
})

if (canSwitchUsers && process.env['PGTS_TEST_HOSTS'] === 'all') describe('hosts without a common loopback', hostsApart)
