import { closeSync, openSync, readdirSync, renameSync, symlinkSync, writeSync } from 'node:fs'
import { basename, join } from 'node:path'
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import { isInstalled, makeTestDir, pgtsProgram, runAs, testUser } from '../support/processes/test-user.ts'
import { labelsOf } from '../support/sites/chain.ts'
import { aSite, PGBACKREST, type Site } from '../support/sites/site.ts'

/**
 * The check of Nagios and Icinga for pgBackRest, unchanged, with pgts under the name pgbackrest: exit code and text are those
 * with the real pgbackrest on the same two repositories (one encrypted), and the expected ones.
 */
const CHECK = 'check_pgbackrest'
const OK = 0
const WARNING = 1
const CRITICAL = 2

const bin = makeTestDir('bin')
const own = join(bin, 'pgbackrest')
let site: Site

/** One call of the check. Ages differ between two calls. */
async function check(program: string, args: readonly string[]) {
  const options = ['--command', program, '--config', site.config, '--stanza', site.stanza, '--service']
  const { code, stdout, stderr } = await runAs(testUser, CHECK, [...options, ...args], { cwd: bin })
  const text = stdout
    .replaceAll(/_age=\d+s|_age":"\d+s/g, (age) => age.replace(/\d+/, 'N'))
    .replaceAll(/(_age<\/channel><value>)\d+/g, '$1N')
    .replaceAll(/(archived since |latest_archive_age \()\w+/g, '$1N')
  return { code, text: args.includes('json') ? (JSON.parse(text) as unknown) : text, stderr }
}

/** The result with pgts, after comparing it with that of pgbackrest. */
async function checked(...args: string[]) {
  const [ours, theirs] = await Promise.all([check(own, args), check(PGBACKREST, args)])
  expect({ code: ours.code, text: ours.text }).toEqual({ code: theirs.code, text: theirs.text })
  // Perl warns of a version of three numbers, which pgbackrest has since 2.56.
  expect(ours.stderr.replaceAll(/^Argument "2\.\d+\.\d+\\n" isn't numeric .*\n/gm, '')).toBe('')
  return { code: ours.code, text: ours.text }
}

const backup = (type: string, repo: number) => site.pgtsOk(`--type=${type}`, `--repo=${repo}`, 'backup')

/** File of a segment in the archive of repo1. */
function pathOf(segment: string): string {
  const dir = join(site.repo, 'archive/main/15-1', segment.slice(0, 16))
  return join(
    dir,
    readdirSync(dir).find((name) => name.startsWith(segment))!,
  )
}

/** Moves a file or directory away until the end of the test. */
function hide(path: string): void {
  const away = join(site.dir, basename(path))
  renameSync(path, away)
  onTestFinished(() => renameSync(away, path))
}

/** Ends the current segment; returns its name. */
async function finishSegment(): Promise<string> {
  await site.cluster.query("select pg_create_restore_point('x')")
  const [row] = await site.cluster.query('select pg_walfile_name(pg_switch_wal()) as name')
  return String(row!['name'])
}

describe.runIf(isInstalled(CHECK))('check_pgbackrest with pgts', () => {
  beforeAll(async () => {
    symlinkSync(pgtsProgram(), own)
    site = await aSite({
      options: {
        'compress-type': 'lz4',
        'repo2-path': makeTestDir('repo2'),
        'repo2-cipher-type': 'aes-256-cbc',
        'repo2-cipher-pass': 'for tests',
        'repo2-retention-full': '9',
      },
    })
  })
  afterAll(() => site?.[Symbol.asyncDispose]())

  test('reports a stanza that does not exist, and one without a backup', async () => {
    const missing = await checked('retention')
    expect(missing).toEqual({
      code: CRITICAL,
      text: 'BACKUPS_RETENTION CRITICAL - repo1: missing stanza path, repo2: missing stanza path',
    })
    await site.pgtsOk('stanza-create')
    for (const service of ['retention', 'archives'])
      expect(await checked(service)).toMatchObject({
        code: CRITICAL,
        text: expect.stringMatching(/ CRITICAL - repo1: no valid backups, repo2: no valid backups$/),
      })
  })

  test('reports full, diff and incr on two repositories as ok', async () => {
    await site.cluster.query('create table damaged as select i, md5(i::text) as v from generate_series(1, 5000) i')
    await site.cluster.query('checkpoint')
    for (const [type, repo] of [
      ['full', 1],
      ['diff', 1],
      ['incr', 1],
      ['full', 2],
    ] as const)
      await backup(type, repo)
    const enough = ['--retention-full=2', '--retention-diff=1', '--retention-incr=1', '--retention-age=1h']
    const { code, text } = await checked('retention', ...enough, '--retention-age-to-full=1h')
    expect({ code, text }).toMatchObject({
      code: OK,
      text: expect.stringMatching(
        /^BACKUPS_RETENTION OK - backups policy checks ok \| full=2 diff=1 incr=1 latest_bck=\S+F latest_bck_type=full/,
      ),
    })
    // The archive begins before the first backup.
    expect(await checked('archives', '--extended-check')).toMatchObject({
      code: WARNING,
      text: expect.stringContaining('min WAL is not the oldest archive') as string,
    })
    expect(await checked('archives', '--latest-archive-age-alert=1h')).toMatchObject({
      code: OK,
      text: expect.stringMatching(/^WAL_ARCHIVES OK - \d+ unique WAL/) as string,
    })
    for (const repo of ['1', '2']) {
      expect(await checked('archives', `--repo=${repo}`)).toMatchObject({ code: OK })
      expect((await checked('retention', `--repo=${repo}`)).text).toContain(repo === '1' ? ' diff=1' : ' diff=0')
    }
  }, 60_000)

  test.each([
    ['human', 'retention'],
    ['json', 'archives'],
    ['nagios_strict', 'retention'],
    ['prtg', 'archives'],
  ])('prints %s', async (format, service) => {
    expect(await checked(service, '--output', format)).toMatchObject({ code: OK })
  })

  test('reports backups that are too few, too old or too young', async () => {
    const { code, text } = await checked(
      'retention',
      ...['--retention-full=3', '--retention-diff=2', '--retention-incr=2', '--retention-age=0s'],
      ...['--retention-age-to-full=0s', '--retention-age-to-oldest=1h'],
    )
    expect(code).toBe(CRITICAL)
    for (const reason of [
      'not enough full backups: 3 required',
      'not enough differential backups: 2 required',
      'not enough incremental backups: 2 required',
      'backups are too old',
      'full backups are too old',
      'backups are too young',
    ])
      expect(text).toContain(reason)
  })

  test('reports a backup directory that is missing', async () => {
    const label = labelsOf(site)[0]!
    hide(join(site.repo, 'backup/main', label))
    expect(await checked('retention')).toMatchObject({
      code: CRITICAL,
      text: expect.stringContaining(`${label} directory missing in repo1`) as string,
    })
  })

  test('reports missing segments: a warning before the latest backup, else critical', async () => {
    const older = await finishSegment()
    await backup('incr', 1)
    const newer = await finishSegment()
    await backup('incr', 2)
    const missing = (count: number, first: string, last: string) =>
      expect.stringContaining(`wrong sequence, ${count} missing file(s) (${first} / ${last})`) as string

    hide(pathOf(older))
    expect(await checked('archives', '--repo=1')).toMatchObject({ code: WARNING, text: missing(1, older, older) })
    hide(pathOf(newer))
    expect(await checked('archives', '--repo=1')).toMatchObject({ code: CRITICAL, text: missing(2, older, newer) })
    // The other repository has both.
    expect(await checked('archives')).toMatchObject({ code: OK })
  }, 60_000)

  test('follows a history file to the next timeline', async () => {
    await site.cluster.stop()
    await site.pgtsOk('--repo=1', '--delta', '--type=immediate', '--target-action=promote', 'restore')
    await site.cluster.start()
    await site.cluster.untilPrimary()
    await backup('incr', 1)
    await backup('diff', 2)
    const { code, text } = await checked('archives', '--max-archives-check-number=100', '--output', 'human')
    expect({ code, text }).toMatchObject({ code: OK, text: expect.stringContaining('max_wal=00000002') as string })
    expect(await checked('archives', '--repo=2')).toMatchObject({ code: OK })
  }, 60_000)

  test('reports a backup with damaged pages', async () => {
    const [{ path }] = (await site.cluster.query("select pg_relation_filepath('damaged') as path")) as [
      { path: string },
    ]
    await site.cluster.query('checkpoint')
    const file = openSync(join(site.cluster.dataDir, path), 'r+')
    writeSync(file, Buffer.from('damage'), 0, 6, 3 * 8192 + 4000)
    closeSync(file)
    await backup('full', 1)
    const label = labelsOf(site).at(-1)!
    expect(await checked('retention')).toMatchObject({
      code: CRITICAL,
      text: expect.stringContaining(`error(s) detected during backup ${label} (repo1)`) as string,
    })
  })

  test('reports neither ok nor a warning if the configuration cannot be read, and checks its own version', async () => {
    expect(await checked('check_pgb_version', '--target-version=9.9')).toMatchObject({ code: CRITICAL })
    const args = ['--config', '/no/such.conf', '--stanza', 'main', '--service', 'retention', '--command']
    const { code, stdout } = await runAs(testUser, CHECK, [...args, own])
    expect([OK, WARNING]).not.toContain(code)
    expect(stdout).toBe('')
  })
})
