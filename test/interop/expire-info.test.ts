import { execFileSync } from 'node:child_process'
import { cpSync, readdirSync, readFileSync, utimesSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { renderInfo } from '../../src/cli/render/info.ts'
import { buildInfo, type InfoRequest } from '../../src/core/info/build.ts'
import { expireRepository, type ExpireRequest } from '../../src/core/expire/run.ts'
import { parseBackupInfo, serialiseBackupInfo, type BackupInfo } from '../../src/format/backup-info.ts'
import { posixStorage } from '../../src/storage/posix.ts'
import { silentLogger } from '../../src/util/log.ts'
import { countCells } from '../support/run/cells.ts'
import { crashing } from '../support/faults/faulty-driver.ts'
import { giveToTestUser, isInstalled, makeTestDir } from '../support/processes/test-user.ts'
import { aSite, PGBACKREST, type Site } from '../support/sites/site.ts'
import { repositoryWith } from '../support/builders/repository.ts'

/**
 * One small repository, made by pgbackrest: three sets of backups, a tablespace, annotations, and WAL between. Both programs
 * run expire and info on copies of it.
 */
const installed = PGBACKREST.includes('/') || isInstalled(PGBACKREST)
const [major = 0, minor = 0] = installed
  ? (/(\d+)\.(\d+)/.exec(execFileSync(PGBACKREST, ['version'], { encoding: 'utf8' })) ?? []).slice(1).map(Number)
  : []
/** The release whose texts and rules pgts follows; older ones differ in details. */
const isNewest = major > 2 || (major === 2 && minor >= 59)

/** Thirteen policies, four views in two forms, and options of pgts only; 2.45 has neither --oldest nor --type. */
const cell = countCells('expire and info', isNewest ? 24 : 21)

/** Kill expire at every step, not only at steps with a visible effect. */
const everyStep = process.env['PGTS_TEST_STEPS'] === 'all'

const DAY = 86_400
let site: Site
let base: string

describe.runIf(installed)(`beside pgbackrest ${major}.${minor}`, () => {
  beforeAll(async () => {
    site = await aSite({ version: 15, archiver: 'pgbackrest', options: { 'compress-type': 'gz', 'process-max': '2' } })
    const tablespace = makeTestDir('tablespace')
    await site.pgbackrestOk('stanza-create')
    await site.cluster.query(`create tablespace side location '${tablespace}'`)
    await site.cluster.query('create table t (id int) tablespace side')
    for (const type of ['full', 'diff', 'incr', 'full', 'diff', 'incr', 'diff', 'full', 'incr']) {
      await site.cluster.query('insert into t select generate_series(1, 100)')
      await site.cluster.query('select pg_switch_wal()')
      await site.pgbackrestOk(`--type=${type}`, '--annotation=note=two "words"', '--annotation=who=me', 'backup')
    }
    await site.cluster.query('insert into t values (1)')
    await site.cluster.query('select pg_switch_wal()')
    await site.pgbackrestOk('check')
    base = site.repo
  }, 240_000)

  afterAll(async () => {
    await site?.[Symbol.asyncDispose]()
  })

  /** A copy of the repository, with the time of each backup moved back by this number of days. */
  function aCopy(ageInDays?: (label: string, index: number) => number): string {
    const dir = makeTestDir('copy')
    cpSync(base, join(dir, 'repo'), { recursive: true, verbatimSymlinks: true })
    if (ageInDays !== undefined) {
      for (const name of ['backup.info', 'backup.info.copy']) {
        const path = join(dir, 'repo/backup/main', name)
        const info = parseBackupInfo(readFileSync(path))
        const backups = info.backups.map((backup, index) => {
          const age = ageInDays(backup.label, index) * DAY
          return { ...backup, timestampStart: backup.timestampStart - age, timestampStop: backup.timestampStop - age }
        })
        writeFileSync(path, serialiseBackupInfo({ ...info, backups }, info.backrestVersion))
      }
    }
    giveToTestUser(dir)
    return join(dir, 'repo')
  }

  function expireWithPgts(repo: string, change: Partial<ExpireRequest>) {
    return expireRepository({
      repository: repositoryWith(posixStorage(repo)),
      stanza: 'main',
      policy: { fullType: 'count', archiveType: 'full' },
      choice: {},
      nowMs: Date.now(),
      dryRun: false,
      refusePageErrors: true,
      linkLatest: true,
      log: silentLogger,
      signal: new AbortController().signal,
      ...change,
    })
  }

  const cells: {
    name: string
    policy: ExpireRequest['policy']
    args: string[]
    age?: (label: string, index: number) => number
    choice?: (labels: readonly string[]) => ExpireRequest['choice']
    newestOnly?: boolean
    removes: RegExp
  }[] = [
    {
      name: 'two fulls',
      policy: { fullType: 'count', full: 2, archiveType: 'full' },
      args: ['--repo1-retention-full=2'],
      removes: /backup.manifest/,
    },
    {
      name: 'one full, its WAL',
      policy: { fullType: 'count', full: 1, archiveType: 'full' },
      args: ['--repo1-retention-full=1'],
      removes: /archive/,
    },
    {
      name: 'all fulls, WAL of one',
      policy: { fullType: 'count', full: 9, archiveType: 'full', archive: 1 },
      args: ['--repo1-retention-full=9', '--repo1-retention-archive=1'],
      removes: /archive/,
    },
    {
      name: 'diffs by count',
      policy: { fullType: 'count', full: 9, diff: 2, archiveType: 'diff' },
      args: ['--repo1-retention-full=9', '--repo1-retention-diff=2', '--repo1-retention-archive-type=diff'],
      removes: /D\/backup.manifest/,
    },
    {
      name: 'WAL by incr',
      policy: { fullType: 'count', full: 2, archiveType: 'incr', archive: 2 },
      args: ['--repo1-retention-full=2', '--repo1-retention-archive-type=incr', '--repo1-retention-archive=2'],
      removes: /archive/,
    },
    {
      name: 'WAL by diff',
      policy: { fullType: 'count', full: 3, archiveType: 'diff', archive: 2 },
      args: ['--repo1-retention-full=3', '--repo1-retention-archive-type=diff', '--repo1-retention-archive=2'],
      removes: /archive/,
    },
    {
      name: 'fulls, diffs and WAL, each by a count of its own',
      policy: { fullType: 'count', full: 2, diff: 1, archiveType: 'incr', archive: 1 },
      args: [
        '--repo1-retention-full=2',
        '--repo1-retention-diff=1',
        '--repo1-retention-archive-type=incr',
        '--repo1-retention-archive=1',
      ],
      removes: /D\/backup.manifest/,
    },
    {
      name: 'fulls by time, WAL by diff',
      policy: { fullType: 'time', full: 5, archiveType: 'diff', archive: 1 },
      args: [
        '--repo1-retention-full-type=time',
        '--repo1-retention-full=5',
        '--repo1-retention-archive-type=diff',
        '--repo1-retention-archive=1',
      ],
      age: (_, index) => 20 - 2 * index,
      removes: /archive/,
    },
    {
      name: 'fulls by time, and no history',
      policy: { fullType: 'time', full: 5, archiveType: 'full', historyDays: 0 },
      args: ['--repo1-retention-full-type=time', '--repo1-retention-full=5', '--repo1-retention-history=0'],
      age: (_, index) => 20 - 2 * index,
      removes: /backup.history/,
    },
    {
      name: 'a set by name',
      policy: { fullType: 'count', full: 9, archiveType: 'full' },
      args: ['--repo1-retention-full=9'],
      choice: (labels) => ({ set: labels[0] as string }),
      removes: /backup.manifest/,
    },
    {
      name: 'a diff by name, with what builds on it',
      policy: { fullType: 'count', full: 9, archiveType: 'full' },
      args: ['--repo1-retention-full=9'],
      choice: (labels) => ({ set: labels.find((label) => label.endsWith('D')) as string }),
      removes: /I\/backup.manifest/,
    },
    {
      name: 'the newest set by name',
      policy: { fullType: 'count', full: 2, archiveType: 'full' },
      args: ['--repo1-retention-full=2'],
      choice: (labels) => ({ set: labels.filter((label) => label.endsWith('F')).at(-1) as string }),
      removes: /backup.manifest/,
    },
    {
      name: 'the oldest set',
      policy: { fullType: 'count', full: 9, archiveType: 'full' },
      args: ['--repo1-retention-full=9', '--oldest'],
      choice: () => ({ oldest: true }),
      newestOnly: true,
      removes: /archive/,
    },
  ]

  test.each(cells.filter(({ newestOnly }) => isNewest || newestOnly !== true))(
    'retention of $name keeps the same files',
    async ({ name, policy, args, age, choice, removes }) => {
      const [theirs, ours] = [aCopy(age), aCopy(age)]
      const before = tree(ours)
      const asked = choice?.(labelsIn(ours)) ?? {}
      const set = asked.set === undefined ? [] : [`--set=${asked.set}`]
      await site.pgbackrestOk(...args, ...set, `--repo1-path=${theirs}`, 'expire')
      const plan = await expireWithPgts(ours, { policy, choice: asked, dryRun: true })
      const report = await expireWithPgts(ours, { policy, choice: asked })

      const left = tree(ours)
      expect(left).toEqual(tree(theirs))
      expect(without(before, left).join('\n')).toMatch(removes)
      expect(infoIn(ours)).toEqual(infoIn(theirs))
      expect({ ...plan, dryRun: false }).toEqual(report)
      // pgbackrest verifies the repository that pgts expired.
      giveToTestUser(ours)
      await site.pgbackrestOk('--repo1-retention-full=9', `--repo1-path=${ours}`, 'expire')
      expect(tree(ours)).toEqual(left)
      cell(`retention: ${name}`)
    },
    60_000,
  )

  test('a dry run of expire changes nothing', async () => {
    const repo = aCopy()
    const before = contents(repo)
    await expireWithPgts(repo, {
      policy: { fullType: 'count', full: 1, archiveType: 'full', historyDays: 0 },
      dryRun: true,
    })
    expect(contents(repo)).toEqual(before)
  })

  test(
    'expire that is killed at any step leaves a repository that both programs can use, and the next run finishes',
    async () => {
      const policy = { fullType: 'count', full: 1, archiveType: 'full', historyDays: 0 } as const
      const whole = aCopy()
      const counting = crashing(posixStorage(whole))
      await expireWithPgts(whole, { policy, repository: repositoryWith(counting) })
      const ending = (end: string) => counting.steps.findIndex((step) => step.endsWith(end))
      const beginning = (start: string) => counting.steps.findIndex((step) => step.startsWith(start))
      // Each step with a visible effect; by hand every step.
      const moments = [
        1,
        ending('F/backup.manifest.copy'),
        ending('/backup.manifest'),
        ending('F/backup.manifest'),
        beginning('commit backup/main/backup.info'),
        ending('commit backup/main/backup.info.copy'),
        beginning('remove-tree backup/main/2') + 1,
        beginning('remove archive/main/') + 1,
        beginning('remove backup/main/backup.history'),
        counting.steps.length - 1,
      ]
      expect(moments).toEqual([...new Set(moments)].sort((a, b) => a - b))
      for (const at of everyStep ? counting.steps.keys() : moments) {
        const repo = aCopy()
        const driver = crashing(posixStorage(repo), at)
        await expect(expireWithPgts(repo, { policy, repository: repositoryWith(driver) })).rejects.toThrow('crash')
        expect(driver.reached).toBe(true)
        giveToTestUser(repo)
        await site.pgbackrestOk('--repo1-retention-full=9', `--repo1-path=${repo}`, 'expire')
        const { stdout } = await site.pgbackrestOk('--output=text', `--repo1-path=${repo}`, 'verify')
        expect(stdout, counting.steps[at]).not.toMatch(/status: error|invalid/)
        // A partial file with a temporary name is treated as that of a running process for a minute, then the next write removes it.
        for (const name of tree(repo).filter((one) => one.endsWith('.pgbackrest.tmp')))
          utimesSync(join(repo, name), 1, 1)
        await expireWithPgts(repo, { policy })
        expect(tree(repo), counting.steps[at]).toEqual(tree(whole))
      }
      cell('killed')
    },
    everyStep ? 3_600_000 : 240_000,
  )

  test('pins, expire --explain and options of the command line leave a repository that pgbackrest verifies', async () => {
    const repo = aCopy()
    const ours = (...args: string[]) => site.pgtsOk(`--repo1-path=${repo}`, ...args)
    const one = '--repo1-retention-full=1'
    const labels = labelsIn(repo)
    const [full, , pinned] = labels as [string, string, string]
    await ours('--reason=before the "move"', '--until=2999-12-31', 'pin', pinned)
    const before = contents(repo)
    const { stdout } = await ours(one, '--explain', '--output=json', 'expire')
    expect(contents(repo)).toEqual(before)
    const [explained] = JSON.parse(stdout) as [{ backup: { label: string; keep: boolean; reasons?: unknown[] }[] }]
    const stays = explained.backup.filter(({ keep }) => keep).map(({ label }) => label)
    expect(stays).toEqual(expect.arrayContaining([full, pinned]))
    expect(stays.length).toBeLessThan(labels.length)
    expect(explained.backup.find(({ label }) => label === pinned)?.reasons).toEqual([
      expect.objectContaining({ rule: 'pin', reason: 'before the "move"' }),
    ])
    const text = (await ours(one, '--explain', 'expire')).stdout
    expect(text).toContain('before the "move"')
    for (const line of text.split('\n')) expect(line.length).toBeLessThanOrEqual(80)
    const refused = await site.pgts([`--repo1-path=${repo}`, `--set=${full}`, 'expire'])
    expect(refused.code).toBe(104)
    expect(refused.stdout + refused.stderr).toContain('is pinned')
    expect((await site.pgtsOk(`--repo1-path=${repo}`, `--set=${pinned}`, 'info')).stdout).toMatch(
      /pinned until 3000-01-01 .*: before the "move"/,
    )

    await ours(one, 'expire')
    expect(labelsIn(repo)).toEqual(stays)
    giveToTestUser(repo)
    // The pinned backup is complete, with its WAL; pgbackrest reports no error and does not change the folder pgts.
    const theirs = (...args: string[]) => site.pgbackrestOk(`--repo1-path=${repo}`, ...args)
    expect((await theirs('--output=text', 'verify')).stdout).not.toMatch(/status: error|invalid/)
    expect((await theirs('info')).stdout).toContain(pinned)
    await theirs('--repo1-retention-full=9', 'expire')
    expect(labelsIn(repo)).toEqual(stays)
    expect(tree(repo)).toContain('pgts/main/pins.json')

    await ours('unpin', pinned)
    expect((await site.pgts([`--repo1-path=${repo}`, 'unpin', pinned])).code).toBe(75)
    await ours(one, 'expire')
    expect(labelsIn(repo).map((label) => label.slice(0, 16))).not.toContain(full)
    cell('pinned')
  }, 60_000)

  test('a calendar on the command line keeps its backups, and pgbackrest verifies the repository', async () => {
    const repo = aCopy((_, index) => 90 - 10 * index)
    const { stdout } = await site.pgtsOk(
      `--repo1-path=${repo}`,
      '--reset-repo1-retention-full',
      '--repo1-retention-daily=2',
      '--repo1-retention-yearly=1',
      '--repo1-retention-archive=1',
      '--repo1-retention-time-zone=Europe/Berlin',
      '--explain',
      'expire',
    )
    expect(stdout).toContain('days in time zone Europe/Berlin')
    await site.pgtsOk(
      `--repo1-path=${repo}`,
      '--reset-repo1-retention-full',
      '--repo1-retention-daily=2',
      '--repo1-retention-archive=1',
      'expire',
    )
    const labels = labelsIn(repo)
    expect(labels.filter((label) => label.endsWith('F'))).toHaveLength(1)
    giveToTestUser(repo)
    const verified = await site.pgbackrestOk(`--repo1-path=${repo}`, '--output=text', 'verify')
    expect(verified.stdout).not.toMatch(/status: error|invalid/)
    await site.pgbackrestOk('--repo1-retention-full=9', `--repo1-path=${repo}`, 'expire')
    expect(labelsIn(repo)).toEqual(labels)
    cell('calendar')
  }, 60_000)

  const views: { name: string; request: () => Partial<InfoRequest>; args: () => string[] }[] = [
    { name: 'everything', request: () => ({}), args: () => [] },
    { name: 'one type', request: () => ({ type: 'diff' }), args: () => ['--type=diff'] },
    {
      name: 'one full',
      request: () => ({ set: labelsIn(base)[0] as string }),
      args: () => [`--set=${labelsIn(base)[0]}`],
    },
    {
      name: 'one incr',
      request: () => ({ set: labelsIn(base)[2] as string }),
      args: () => [`--set=${labelsIn(base)[2]}`],
    },
  ]

  for (const output of ['json', 'text'] as const) {
    const known = views.filter(({ name }) => isNewest || name !== 'one type')
    test.each(known)(`info of $name prints the same ${output} in both programs`, async ({ name, request, args }) => {
      const { stdout } = await site.pgbackrestOk(...args(), `--output=${output}`, 'info')
      const report = await buildInfo({
        repos: [repositoryWith(posixStorage(base))],
        stanza: 'main',
        detail: 'full',
        locksOf: () => [],
        signal: new AbortController().signal,
        ...request(),
      })
      const ours = renderInfo(report, output)
      if (isNewest) expect(ours).toBe(stdout)
      else expect(likeOld(ours, output)).toBe(likeOld(stdout, output))
      cell(`${output}: ${name}`)
    })
  }
})

/** Where 2.45 differs: no restore in JSON; in text no time zone, sizes rounded down, and references listed instead of counted. */
function likeOld(info: string, output: 'text' | 'json'): string {
  if (output === 'json') return info.replaceAll(',"restore":{"held":false}', '')
  return info
    .replaceAll(/ *backup reference (list|total): .*\n/g, '')
    .replaceAll(/(:\d\d)[+-]\d\d(:\d\d)?/g, '$1')
    .replaceAll(/[0-9.]+(B|KB|MB)\b/g, '$1')
}

function labelsIn(repo: string): string[] {
  return infoIn(repo).backups.map(({ label }) => label)
}

function infoIn(repo: string): BackupInfo {
  const { backrestVersion: _, ...info } = parseBackupInfo(readFileSync(join(repo, 'backup/main/backup.info')))
  return info as BackupInfo
}

function tree(repo: string): string[] {
  return (readdirSync(repo, { recursive: true }) as string[]).sort()
}

function without(names: readonly string[], others: readonly string[]): string[] {
  const known = new Set(others)
  return names.filter((name) => !known.has(name))
}

function contents(repo: string): string[] {
  return readdirSync(repo, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
    .sort()
    .map((path) => `${path} ${readFileSync(path).toString('base64')}`)
}
