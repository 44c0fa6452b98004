import { cpSync, existsSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { loadArchiveInfo } from '../../src/core/archive-info-store.ts'
import { loadBackupInfo } from '../../src/core/backup-info-store.ts'
import { isCopyCurrent } from '../../src/core/info-pair.ts'
import { posixStorage } from '../../src/storage/posix.ts'
import { countCells } from '../support/run/cells.ts'
import { crashing, isCrash } from '../support/faults/faulty-driver.ts'
import { runInProcess } from '../support/processes/in-process.ts'
import { pgtsProgram, type Cluster, type RunResult, startCluster } from '../support/postgres/postgres.ts'
import { aSite, asWritten, PGBACKREST, type Site } from '../support/sites/site.ts'
import { cleanEnv, giveToTestUser, isInstalled, makeTestDir, runAs, testUser } from '../support/processes/test-user.ts'
import { repositoryWith } from '../support/builders/repository.ts'

/** annotate, stop, start, stanza-upgrade and stanza-delete of both programs on copies of one repository. */
const installed = PGBACKREST.includes('/') || isInstalled(PGBACKREST)
const cell = countCells('life of a stanza', 14)
type Who = 'pgts' | 'pgbackrest'

describe.runIf(installed)('stanza commands of pgts and pgbackrest', () => {
  let site: Site
  let upgraded: Cluster
  let label: string

  beforeAll(async () => {
    site = await aSite({
      version: 14,
      options: { 'repo1-cipher-type': 'aes-256-cbc', 'repo1-cipher-pass': 'for tests' },
    })
    await site.pgtsOk('stanza-create')
    await site.pgtsOk('--type=full', 'backup')
    label = readdirSync(join(site.repo, 'backup/main')).find((name) => name.endsWith('F'))!
    upgraded = await startCluster({ version: 15 })
  }, 120_000)

  afterAll(async () => {
    await upgraded?.[Symbol.asyncDispose]()
    await site?.[Symbol.asyncDispose]()
  })

  /** A copy of the repository with a configuration of its own; `cluster` is pg1. */
  function aCopy(cluster: Cluster = site.cluster): { dir: string; repo: string; lock: string; run: Run } {
    const dir = makeTestDir('stanza-life')
    const repo = join(dir, 'repo')
    const lock = join(dir, 'lock')
    cpSync(site.repo, repo, { recursive: true, verbatimSymlinks: true })
    for (const sub of ['lock', 'log', 'spool']) mkdirSync(join(dir, sub))
    const options = {
      'repo1-path': repo,
      'repo1-cipher-type': 'aes-256-cbc',
      'repo1-cipher-pass': 'for tests',
      'lock-path': lock,
      'log-path': join(dir, 'log'),
      'spool-path': join(dir, 'spool'),
      'start-fast': 'y',
      'log-level-console': 'info',
    }
    const lines = (values: object) => Object.entries(values).map(([key, value]) => `${key}=${String(value)}`)
    const config = join(dir, 'pgbackrest.conf')
    writeFileSync(config, ['[global]', ...lines(options), '[main]', ...lines(cluster.pgOptions()), ''].join('\n'))
    giveToTestUser(dir)
    const run: Run = (who, ...args) =>
      runAs(testUser, who === 'pgts' ? pgtsProgram() : PGBACKREST, [`--config=${config}`, ...args], {
        cwd: dir,
        env: cleanEnv(),
        deadlineMs: 60_000,
      })
    return { dir, repo, lock, run }
  }
  type Run = (who: Who, ...args: string[]) => Promise<RunResult>
  const stanza = '--stanza=main'

  async function annotations(run: Run, who: Who): Promise<unknown> {
    const { stdout } = await run(who, stanza, '--output=json', '--log-level-console=off', `--set=${label}`, 'info')
    return (JSON.parse(stdout) as { backup: { annotation?: unknown }[] }[])[0]?.backup[0]?.annotation
  }

  test('annotations of one program are read, changed and removed by the other', async () => {
    const { run } = aCopy()
    const set = `--set=${label}`
    expect(
      (await run('pgts', stanza, set, '--annotation=who=me', '--annotation=why=before the move', 'annotate')).code,
    ).toBe(0)
    expect(await annotations(run, 'pgbackrest')).toEqual({ who: 'me', why: 'before the move' })
    expect((await run('pgbackrest', stanza, set, '--annotation=who=', '--annotation=why=after', 'annotate')).code).toBe(
      0,
    )
    expect(await annotations(run, 'pgts')).toEqual({ why: 'after' })
    expect((await run('pgts', stanza, set, '--annotation=why=', 'annotate')).code).toBe(0)
    expect(await annotations(run, 'pgbackrest')).toBeUndefined()
    cell('notes')
  })

  test.each(['pgts', 'pgbackrest'] as const)('%s refuses to annotate an unknown backup', async (who) => {
    const { run } = aCopy()
    expect((await run(who, stanza, '--set=20200101-000000F', '--annotation=a=b', 'annotate')).code).toBe(75)
    expect((await run(who, stanza, '--set=nonsense', '--annotation=a=b', 'annotate')).code).toBe(32)
    cell(`no backup ${who}`)
  })

  test.each([
    ['pgts', 'pgbackrest'],
    ['pgbackrest', 'pgts'],
  ] as const)('what %s stops is stopped for %s, until either starts it', async (one, other) => {
    const { run, lock } = aCopy()
    for (const which of [[stanza], []]) {
      expect((await run(one, ...which, 'stop')).code).toBe(0)
      expect(readdirSync(lock)).toEqual([which.length === 0 ? 'all.stop' : 'main.stop'])
      for (const who of [one, other]) {
        expect((await run(who, stanza, 'backup')).code).toBe(62)
        expect((await run(who, stanza, 'expire')).code).toBe(62)
      }
      const again = await run(other, ...which, 'stop')
      expect(again).toMatchObject({ code: 0 })
      expect(again.stdout + again.stderr).toContain('stop file already exists')
      expect((await run(other, ...which, 'start')).code).toBe(0)
      expect(readdirSync(lock)).toEqual([])
      const idle = await run(one, ...which, 'start')
      expect(idle.stdout + idle.stderr).toContain('stop file does not exist')
    }
    cell(`stop ${one}`)
  })

  /** The content of the info files, without the program that wrote them. */
  async function infoOf(repo: string) {
    const cipher = { type: 'aes-256-cbc', origin: 'the test', passphrase: () => 'for tests' } as const
    const repository = repositoryWith(posixStorage(repo), { cipher })
    for (const name of ['archive/main/archive.info', 'backup/main/backup.info']) {
      expect(await isCopyCurrent(repository, name), name).toBe(true)
    }
    const { backrestVersion: _a, ...archive } = await loadArchiveInfo(repository, 'main')
    const { backrestVersion: _b, ...backup } = await loadBackupInfo(repository, 'main')
    return { archive, backup }
  }

  test('stanza-upgrade writes the same files as pgbackrest, and both programs continue', async () => {
    const [ours, theirs] = [aCopy(upgraded), aCopy(upgraded)]
    // Before the upgrade: the stanza is of the old cluster.
    expect((await ours.run('pgts', stanza, '--no-online', 'stanza-create')).code).toBe(28)
    expect((await ours.run('pgts', stanza, 'stanza-upgrade')).code).toBe(0)
    expect((await theirs.run('pgbackrest', stanza, 'stanza-upgrade')).code).toBe(0)
    const info = await infoOf(ours.repo)
    expect(info).toEqual(await infoOf(theirs.repo))
    expect(info.archive.history.map(({ id, version }) => `${version}-${id}`)).toEqual(['14-1', '15-2'])
    const again = await ours.run('pgts', stanza, 'stanza-upgrade')
    expect(again.stdout).toContain('already up to date')
    expect(await infoOf(ours.repo)).toEqual(info)
    expect((await ours.run('pgbackrest', stanza, 'stanza-upgrade')).stdout).toContain('already up to date')

    // The old backup is kept, and the next one is a full of the new cluster.
    for (const who of ['pgts', 'pgbackrest'] as const) {
      const done = await ours.run(who, stanza, '--type=incr', '--no-archive-check', 'backup')
      expect(done, done.stdout + done.stderr).toMatchObject({ code: 0 })
    }
    const json = async (who: Who): Promise<unknown> => {
      const { stdout } = await ours.run(who, '--log-level-console=off', '--output=json', 'info')
      // 2.45 does not show restores.
      return JSON.parse(stdout.replaceAll(',"restore":{"held":false}', ''), asWritten)
    }
    expect(await json('pgts')).toEqual(await json('pgbackrest'))
    const text = async (who: Who) => (await ours.run(who, '--log-level-console=off', 'info')).stdout.split('\n')
    const frame = (lines: string[]) => lines.filter((line) => /^ {4}db|wal archive|backup:/.test(line))
    expect(frame(await text('pgts'))).toEqual(frame(await text('pgbackrest')))
    expect(frame(await text('pgts')).join()).toMatch(/db \(prior\)[^]*db \(current\)/)
    cell('info of both clusters')

    const labels = readdirSync(join(ours.repo, 'backup/main')).filter((name) => /^\d{8}-/.test(name))
    expect(labels).toHaveLength(3)
    expect(labels.filter((name) => name.endsWith('F'))).toHaveLength(2)
    cell('upgrade')
  })

  /**
   * A command of pgts on one copy for each of its steps, at which it is killed, and a last one that completes.
   * `check` inspects the result of each with the program that continues, in turn.
   */
  async function killedAtEachStep(
    cluster: Cluster,
    args: readonly string[],
    prepare: (copy: ReturnType<typeof aCopy>) => void,
    check: (copy: ReturnType<typeof aCopy>, killed: boolean, who: Who, step: string) => Promise<void>,
  ): Promise<number> {
    for (let at = 0; ; at++) {
      const copy = aCopy(cluster)
      prepare(copy)
      const argv = [`--config=${join(copy.dir, 'pgbackrest.conf')}`, stanza, '--log-level-console=off', ...args]
      const killed = await runInProcess(argv, copy.repo, (storage) => crashing(storage, at)).then(
        () => false,
        (error: unknown) => {
          if (!isCrash(error)) throw error
          return true
        },
      )
      giveToTestUser(copy.dir)
      const who = at % 2 === 0 ? 'pgts' : 'pgbackrest'
      await check(copy, killed, who, `step ${at}, ${who}`)
      if (!killed) return at
    }
  }

  test('a stanza-upgrade that is killed at any step is completed by either program', async () => {
    const steps = await killedAtEachStep(
      upgraded,
      ['--no-online', 'stanza-upgrade'],
      () => undefined,
      async ({ repo, run }, _killed, who, step) => {
        const repaired = await run(who, stanza, '--no-online', 'stanza-upgrade')
        expect(repaired, `${step}: ${repaired.stdout}`).toMatchObject({ code: 0 })
        // Whichever program completed it, pgts leaves equal copies.
        if (who === 'pgbackrest') expect((await run('pgts', stanza, '--no-online', 'stanza-upgrade')).code).toBe(0)
        expect((await infoOf(repo)).backup.history).toHaveLength(2)
      },
    )
    expect(steps).toBeGreaterThan(3)
    cell('killed upgrade')
  }, 120_000)

  test.each(['pgts', 'pgbackrest'] as const)(
    '%s stanza-delete requires the stop file and a stopped server',
    async (who) => {
      const { run, repo, lock } = aCopy()
      expect((await run(who, stanza, '--force', 'stanza-delete')).code).toBe(55)
      expect((await run(who, stanza, 'stop')).code).toBe(0)
      expect((await run(who, stanza, 'stanza-delete')).code).toBe(38)
      expect(existsSync(join(repo, 'backup/main/backup.info'))).toBe(true)
      expect((await run(who, stanza, '--force', 'stanza-delete')).code).toBe(0)
      expect(existsSync(join(repo, 'backup/main'))).toBe(false)
      expect(existsSync(join(repo, 'archive/main'))).toBe(false)
      expect(readdirSync(lock)).toEqual([])
      // Nothing is left to delete, and the other program can create the stanza again.
      expect((await run(who, stanza, 'stanza-delete')).code).toBe(0)
      expect((await run(who === 'pgts' ? 'pgbackrest' : 'pgts', stanza, 'stanza-create')).code).toBe(0)
      cell(`delete ${who}`)
    },
  )

  test('a stanza-delete that is killed at any step leaves no partial stanza in use, and is completed by the next run', async () => {
    const steps = await killedAtEachStep(
      site.cluster,
      ['--force', 'stanza-delete'],
      ({ lock }) => writeFileSync(join(lock, 'main.stop'), ''),
      async ({ repo, run }, killed, who, step) => {
        if (killed) expect((await run(who, stanza, '--force', 'stanza-delete')).code, step).toBe(0)
        expect(existsSync(join(repo, 'backup/main'))).toBe(false)
        expect(existsSync(join(repo, 'archive/main'))).toBe(false)
      },
    )
    expect(steps).toBeGreaterThan(4)
    cell('killed delete')
  }, 120_000)

  test.each([
    ['pgts', 'pgts'],
    ['pgts', 'pgbackrest'],
    ['pgbackrest', 'pgts'],
  ] as const)(
    '%s stop --force ends a running backup of %s, and names its process',
    async (one, other) => {
      const { run, lock } = aCopy()
      // The backup begins with a checkpoint, which the server spreads over minutes if there is much to write.
      await site.cluster.query(
        'drop table if exists changed; create table changed as select generate_series(1, 100000)',
      )
      const running = run(other, stanza, '--type=full', '--no-start-fast', '--no-archive-check', 'backup')
      const name = /^main-backup(-1)?\.lock$/
      await expect.poll(() => readdirSync(lock).some((file) => name.test(file)), { timeout: 60_000 }).toBe(true)
      const stopped = await run(one, stanza, '--force', 'stop')
      expect(stopped.code, stopped.stdout).toBe(0)
      if (one === 'pgts') expect(stopped.stdout).toMatch(/sent term signal to process \d+ \(backup of stanza main\)/)
      expect((await running).code).toBe(63)
      // The newer pgbackrest leaves its lock file, without a lock on it.
      expect(readdirSync(lock).filter((file) => other === 'pgts' || file.endsWith('.stop'))).toEqual(['main.stop'])
      cell(`stop --force ${one} ${other}`)
    },
    120_000,
  )
})
