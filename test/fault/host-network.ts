import { existsSync, mkdirSync, readdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { switchSegment, untilArchived } from '../support/hosts/archive-segments.ts'
import type { TestHost } from '../support/hosts/hosts.ts'
import { NamespacePair } from '../support/hosts/namespaces.ts'
import { PushSite } from '../support/hosts/push-site.ts'
import { TlsServer } from '../support/hosts/tls-server.ts'
import { argumentsOf, descendantsOf, signal } from '../support/processes/processes.ts'
import { makeTestDir, type RunResult } from '../support/processes/test-user.ts'
import { until } from '../support/until.ts'

const STANZA = '--stanza=main'
const [IO_S, PROTOCOL_S] = [8, 12]
const TIMES = { 'io-timeout': `${IO_S}s`, 'protocol-timeout': `${PROTOCOL_S}s`, 'db-timeout': '10s' }
const LOST =
  /has sent nothing for|has read nothing for|sent no greeting within|terminated unexpectedly|cannot connect to/

/** Two hosts without a common loopback, whose network loses all packets at times. */
export function hostsApart(): void {
  const tlsRepository = makeTestDir('tls-repo')
  let network: NamespacePair
  let site: PushSite
  let server: TlsServer

  beforeAll(async () => {
    network = new NamespacePair()
    site = await PushSite.start({ namespaces: network, repository: TIMES, cluster: { conf: { fsync: 'on' } } })
    const { address } = network.repository
    server = await TlsServer.prepare({
      names: [`IP:${address}`],
      global: [
        'tls-server-address=*',
        `repo1-path=${tlsRepository}`,
        ...Object.entries(TIMES).map(([name, value]) => `${name}=${value}`),
      ],
    })
    await site.repository.inside(() => server.run())
    await site.postgres.pgtsOk(STANZA, 'stanza-create')
    const text = 'md5(g::text) || md5((g + 7)::text)'
    await site.cluster.query(`create table t as select g, ${text} as v from generate_series(1, 600000) g`)
  }, 300_000)
  afterAll(async () => {
    network.link('up')
    await server[Symbol.asyncDispose]()
    await site[Symbol.asyncDispose]()
  })
  afterEach(() => network.link('up'))

  const transports = {
    ssh: () => ({ ...TIMES, 'compress-type': 'none', 'archive-timeout': '120s' }),
    tls: () => ({
      ...TIMES,
      'compress-type': 'none',
      'archive-timeout': '120s',
      ...server.clientOptions('repo1-host', server.authority.issue('db1', { subject: '/CN=db1' })),
      'repo1-host': network.repository.address,
    }),
  }

  /** The process that archives in the background has a lock until it notices the change of the configuration. */
  async function createStanza(host: TestHost): Promise<void> {
    await until('stanza-create', async () => (await host.pgts([STANZA, 'stanza-create'])).code === 0)
  }

  /** Starts a command, and calls `strike` as soon as it is at work. */
  async function struck(
    host: TestHost,
    args: readonly string[],
    { isAtWork, strike }: { readonly isAtWork: () => boolean; readonly strike: () => void },
  ): Promise<RunResult> {
    let ended = false
    const run = host.pgts([STANZA, ...args]).finally(() => (ended = true))
    while (!ended && !isAtWork()) await sleep(2)
    expect(ended, 'the moment was reached').toBe(false)
    strike()
    return run
  }

  function expectLost(result: RunResult, codes: readonly number[] = [49]): void {
    expect([result.timedOut, result.signal]).toEqual([false, null])
    expect(codes, result.stdout).toContain(result.code)
    expect(result.stdout).toMatch(LOST)
  }

  /** No process serves this host, and no lock of a command is left on either side. */
  async function expectReleased(host: TestHost): Promise<void> {
    await until('the end of the serving processes', () => site.hosts.servingProcesses(host).length === 0)
    for (const { dir } of [site.postgres, site.repository])
      await until('free locks', () => !readdirSync(join(dir, 'lock')).some((name) => name.includes('backup')))
  }

  /** A backup that is not finished has files of the table. */
  function copying(directory: string): boolean {
    const path = join(directory, 'backup/main')
    if (!existsSync(path)) return false
    return readdirSync(path).some((name) => {
      const files = /^\d{8}-\d{6}F$/.test(name) ? readdirSync(join(path, name)) : []
      return files.length > 0 && !files.includes('backup.manifest') && existsSync(join(path, name, 'pg_data/base'))
    })
  }

  describe.each(['ssh', 'tls'] as const)('by %s', (transport) => {
    const repositoryDirectory = () => (transport === 'ssh' ? join(site.repository.dir, 'repo') : tlsRepository)

    beforeAll(async () => {
      site.configure({ postgres: { ...transports[transport](), 'log-level-console': 'info' }, repository: TIMES })
      await createStanza(site.postgres)
      await site.postgres.pgtsOk(STANZA, '--type=full', 'backup')
    }, 300_000)

    test(
      'a backup ends when the link is down, leaves no lock, and the next one goes on',
      { timeout: 300_000 },
      async () => {
        const isAtWork = () => copying(repositoryDirectory())
        expectLost(
          await struck(site.postgres, ['--type=full', 'backup'], { isAtWork, strike: () => network.link('down') }),
        )
        if (transport === 'ssh') await expectReleased(site.repository)
        network.link('up')
        await site.postgres.pgtsOk(STANZA, '--type=full', 'backup')
        expect((await site.postgres.pgtsOk(STANZA, 'verify')).stdout).toContain('errors = 0')
      },
    )

    test('a restore ends when the link is down, and the next one completes it', { timeout: 300_000 }, async () => {
      const target = join(site.postgres.dir, 'restored')
      rmSync(target, { recursive: true, force: true })
      mkdirSync(target, { mode: 0o700 })
      site.postgres.give(target)
      const restore = [`--pg1-path=${target}`, '--type=none', 'restore']
      const isAtWork = () => existsSync(join(target, 'base'))
      expectLost(await struck(site.postgres, restore, { isAtWork, strike: () => network.link('down') }))
      network.link('up')
      await site.postgres.pgtsOk(STANZA, '--delta', ...restore)
      expect(existsSync(join(target, 'global/pg_control'))).toBe(true)
    })

    test.each(['n', 'y'])(
      'archiving with archive-async=%s fails while the link is down, also over a kept connection, and then goes on',
      { timeout: 300_000 },
      async (isAsync) => {
        const more = { 'archive-async': isAsync, 'archive-timeout': '10s', 'log-level-console': 'warn' }
        site.configure({ postgres: { ...transports[transport](), ...more }, repository: TIMES })
        const archived = (segment: string) => untilArchived(site.cluster, repositoryDirectory(), segment)
        for (let i = 0; i < 4; i++) await archived(await switchSegment(site.cluster))
        network.link('down')
        const logged = site.cluster.log().length
        const segment = await switchSegment(site.cluster)
        const since = () => site.cluster.log().slice(logged)
        await until('an error of the archiver', () => LOST.test(since()), { deadlineMs: 120_000, details: since })
        network.link('up')
        await archived(segment)
        // Idle for longer than the limits: both ends close the connection.
        network.link('down')
        await sleep((IO_S + PROTOCOL_S + 2) * 1000)
        network.link('up')
        await archived(await switchSegment(site.cluster))
      },
    )

    test('a new connection is an error that names its step', { timeout: 60_000 }, async () => {
      network.link('down')
      const result = await site.postgres.pgts([STANZA, 'info'])
      expectLost(result)
      expect(result.stdout).toContain('HINT: ')
    })
  })

  describe('pulled by ssh', () => {
    beforeAll(async () => {
      site.configure({ postgres: { ...transports.ssh(), 'log-level-console': 'warn' }, repository: TIMES })
      const { postgres, repository, cluster } = site
      repository.configure({
        global: {
          ...TIMES,
          'repo1-path': `${repository.dir}/pulled`,
          'cmd-ssh': `${repository.dir}/bin/ssh`,
          'start-fast': 'y',
          'archive-check': 'n',
          'compress-type': 'none',
          'repo1-retention-full': '9',
          'process-max': '2',
        },
        main: {
          ...cluster.pgOptions(),
          'pg1-host': 'pg-host',
          'pg1-host-user': postgres.user.name,
          'pg1-host-cmd': `${postgres.dir}/bin/pgts`,
        },
      })
      await createStanza(repository)
    }, 300_000)

    const isAtWork = () => copying(join(site.repository.dir, 'pulled'))
    const backup = ['--type=full', 'backup']

    async function expectServerReleased(): Promise<void> {
      await expectReleased(site.postgres)
      const sessions =
        "select 1 from pg_stat_activity where backend_type = 'client backend' and pid <> pg_backend_pid()"
      await until('the end of the sessions', async () => (await site.cluster.query(sessions)).length === 0)
    }

    /** Processes that serve the cluster, by the number of their connection. */
    const serving = (number: RegExp) =>
      site.hosts.servingProcesses(site.postgres).filter((pid) => number.test(argument(pid, '--process=')))

    test('a backup ends when the link is down, and the server leaves backup mode', { timeout: 300_000 }, async () => {
      expectLost(await struck(site.repository, backup, { isAtWork, strike: () => network.link('down') }))
      await expectServerReleased()
      network.link('up')
      await site.repository.pgtsOk(STANZA, ...backup)
    })

    test('a worker that is frozen on the other host is replaced', { timeout: 300_000 }, async () => {
      let frozen: number[] = []
      const result = await struck(site.repository, backup, {
        isAtWork: () => isAtWork() && serving(/^[1-9]/).length > 0,
        strike: () => {
          frozen = serving(/^[1-9]/)
          for (const pid of frozen) signal(pid, 'SIGSTOP')
        },
      })
      for (const pid of frozen) signal(pid, 'SIGCONT')
      expect(result.code, result.stdout).toBe(0)
      // It may be frozen before it has sent its greeting.
      const silent =
        /WARN: backup-file job failed, retry 1 of \d+ after 0 ms: .*has sent (nothing for|no greeting within)/
      expect(result.stdout).toMatch(silent)
      await expectServerReleased()
    })

    test('a backup ends when the process with its session is frozen', { timeout: 300_000 }, async () => {
      let frozen: number[] = []
      const result = await struck(site.repository, backup, {
        isAtWork,
        strike: () => {
          frozen = serving(/^0$/)
          for (const pid of frozen) signal(pid, 'SIGSTOP')
        },
      })
      expect(frozen).toHaveLength(1)
      expectLost(result)
      signal(frozen[0]!, 'SIGCONT')
      await expectServerReleased()
      await site.repository.pgtsOk(STANZA, ...backup)
    })

    test('a backup ends when sshd is frozen, as does the next connection', { timeout: 300_000 }, async () => {
      const { pid } = site.hosts.postgresSshd
      const all = () => [{ pid }, ...descendantsOf(pid).filter(({ args }) => /^sshd/.test(args[0] ?? ''))]
      let frozen: { readonly pid: number }[] = []
      const strike = () => {
        frozen = all()
        for (const one of frozen) signal(one.pid, 'SIGSTOP')
      }
      expectLost(await struck(site.repository, backup, { isAtWork, strike }))
      const next = await site.repository.pgts([STANZA, 'stanza-upgrade'])
      expectLost(next)
      expect(next.stdout).toContain(`has sent no greeting within ${IO_S} s (io-timeout)`)
      for (const one of frozen) signal(one.pid, 'SIGCONT')
      await expectServerReleased()
      await site.repository.pgtsOk(STANZA, ...backup)
    })
  })
}

function argument(pid: number, prefix: string): string {
  return (
    argumentsOf(pid)
      .find((one) => one.startsWith(prefix))
      ?.slice(prefix.length) ?? ''
  )
}
