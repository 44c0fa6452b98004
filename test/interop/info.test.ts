import { TerminalProgress } from '../../src/cli/progress.ts'
import { execFileSync } from 'node:child_process'
import {
  chmodSync,
  closeSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import { openContext } from '../../src/cli/context.ts'
import { commandRows } from '../../src/cli/command-rows.ts'
import type { CommandContext } from '../../src/commands/context.ts'
import { resolveOptions } from '../../src/config/resolve.ts'
import { silentLogger } from '../../src/util/log.ts'
import { countCells } from '../support/run/cells.ts'
import { signal } from '../support/processes/processes.ts'
import { unarchivedSegment } from '../support/sites/replica.ts'
import { asWritten, aSite, PGBACKREST, type Site } from '../support/sites/site.ts'
import {
  cleanEnv,
  giveToTestUser,
  isInstalled,
  makeTestDir,
  pgts,
  runAs,
  testUser,
} from '../support/processes/test-user.ts'
import { until } from '../support/until.ts'

/**
 * info of both programs, JSON and text, on two repositories (one encrypted) with two stanzas, intact and damaged, idle and
 * during a backup.
 */
const installed = PGBACKREST.includes('/') || isInstalled(PGBACKREST)
const [major = 0, minor = 0] = installed
  ? (/(\d+)\.(\d+)/.exec(execFileSync(PGBACKREST, ['version'], { encoding: 'utf8' })) ?? []).slice(1).map(Number)
  : []
const isNewest = major > 2 || (major === 2 && minor >= 59)

const cell = countCells('info of several repositories', isNewest ? 29 : 25)

/** Members that 2.45 does not have, and texts of errors, which differ; their names are equal. */
function normalText(text: string): string {
  const known = text.replaceAll(/ {8}recovery window .*\n(?: {12}.*\n)*/g, '')
  const plain = known.replaceAll(/\[(\w+Error)\][^]*?\n(?= {4}cipher| {8}repo\d)/g, '[$1]\n')
  if (isNewest) return plain
  return plain
    .replaceAll(/ *backup reference (list|total): .*\n/g, '')
    .replaceAll(/(:\d\d)[+-]\d\d(:\d\d)?/g, '$1')
    .replaceAll(/[0-9.]+(B|KB|MB)\b/g, '$1')
    .replaceAll(/\d+\.\d\d% complete/g, '00.00% complete')
}

/** 2.45 shows the progress of a backup in text only. */
function isLock(value: unknown): value is { held: boolean } {
  return typeof value === 'object' && value !== null && 'held' in value
}

function normalJson(value: unknown): unknown {
  if (typeof value === 'string') return value.replace(/^\[(\w+Error)\][^]*/, '[$1]')
  if (Array.isArray(value)) return value.map(normalJson)
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(
    Object.entries(value)
      .filter(([key]) => isNewest || key !== 'restore')
      .map(([key, one]) => [key, !isNewest && key === 'backup' && isLock(one) ? { held: one.held } : one] as const)
      .map(([key, one]) => [key, normalJson(asWritten(key, one))]),
  )
}

describe.runIf(installed)(`info of pgts and of pgbackrest ${major}.${minor} print the same`, () => {
  let site: Site
  let repo2: string
  let labels: string[]

  beforeAll(async () => {
    repo2 = makeTestDir('repo2')
    site = await aSite({
      walSegsizeMb: 1,
      dataChecksums: true,
      options: {
        'repo2-path': repo2,
        'repo2-cipher-type': 'aes-256-cbc',
        'repo2-cipher-pass': 'for tests',
        'repo2-retention-full': '9',
        'repo2-bundle': 'y',
      },
    })
    const { cluster } = site
    const [space, linked] = [makeTestDir('space'), makeTestDir('linked')]
    writeFileSync(join(linked, 'extra.conf'), '# nothing')
    mkdirSync(join(linked, 'dir'))
    writeFileSync(join(linked, 'dir', 'file'), 'x')
    symlinkSync(join(linked, 'extra.conf'), join(cluster.dataDir, 'extra.conf'))
    symlinkSync(join(linked, 'dir'), join(cluster.dataDir, 'a link'))
    giveToTestUser(linked)
    await cluster.query('create database "Größe, or ""size"""')
    await cluster.query(`create tablespace "side, two" location '${space}'`)
    await cluster.query('create table there tablespace "side, two" as select 1')
    await cluster.query('create table damaged as select i, md5(i::text) as v from generate_series(1, 5000) i')
    const rows = await cluster.query("select pg_relation_filepath('damaged') as path")
    await cluster.query('checkpoint')
    await site.pgtsOk('stanza-create')
    await site.pgtsOk('--type=full', '--annotation=who=me', '--annotation=why=two "words" \\ and ä', 'backup')
    const file = openSync(join(cluster.dataDir, String(rows[0]!['path'])), 'r+')
    for (const page of [3, 5]) writeSync(file, Buffer.from('damage'), 0, 6, page * 8192 + 4000)
    closeSync(file)
    for (const [type, repo] of [
      ['diff', 1],
      ['full', 2],
      ['incr', 1],
      ['incr', 2],
    ] as const)
      await site.pgtsOk(`--type=${type}`, `--repo=${repo}`, 'backup')
    await other('stanza-create')
    await other('--repo=2', '--type=full', '--no-archive-check', 'backup')
    for (const kind of ['archive', 'backup']) rmSync(join(site.repo, kind, 'other'), { recursive: true })
    // Nothing changes during the calls.
    await unarchivedSegment(site.cluster)
    labels = readdirSync(join(site.repo, 'backup/main'))
      .filter((name) => /^\d/.test(name))
      .sort()
  }, 120_000)
  afterAll(() => site?.[Symbol.asyncDispose]())

  /** A second stanza, of the same cluster. */
  async function other(...args: string[]): Promise<void> {
    const cluster = Object.entries(site.cluster.pgOptions()).map(([name, value]) => `--${name}=${value}`)
    const result = await pgts([`--config=${site.config}`, '--stanza=other', ...cluster, ...args], { cwd: site.dir })
    expect(result, result.stdout + result.stderr).toMatchObject({ code: 0 })
  }

  async function ours(args: readonly string[]): Promise<string> {
    const argv = [`--config=${site.config}`, ...args, 'info']
    const around = {
      log: silentLogger,
      learnSecret: () => undefined,
      signal: new AbortController().signal,
      env: {},
      cwd: '/',
      program: '/usr/bin/pgts',
      progress: new TerminalProgress('none'),
      continueAs: () => undefined,
    }
    const resolved = await resolveOptions({ argv, env: {}, program: around.program, uid: 1 })
    await using open = openContext(resolved, around)
    return (await commandRows.info!(open.ctx as CommandContext<'info'>, open.launcher)).text ?? ''
  }

  async function theirs(args: readonly string[]): Promise<string> {
    const result = await runAs(
      testUser,
      PGBACKREST,
      [`--config=${site.config}`, '--log-level-console=off', ...args, 'info'],
      { cwd: site.dir, env: cleanEnv() },
    )
    expect(result.code, result.stderr).toBe(0)
    return result.stdout
  }

  const json = (text: string): unknown => {
    // The JSON of pgbackrest contains the wrongly decrypted bytes of a file.
    return JSON.parse(text.replaceAll(/[\u0000-\u001f]/g, '?'))
  }

  interface Asked {
    /** Run as the test user, to whom permissions apply. */
    readonly asUser?: boolean
    /** With a wrong passphrase pgbackrest reports a format error, pgts the cause. */
    readonly garbled?: boolean
  }

  /** Text and JSON of both programs must be equal, except the differences above. */
  async function expectSame(args: readonly string[], { asUser, garbled }: Asked = {}): Promise<string> {
    const byUser = async (all: readonly string[]) =>
      (await pgts([`--config=${site.config}`, ...all, 'info'], { cwd: site.dir })).stdout
    const mine = asUser === true ? byUser : ours
    const other = async (all: readonly string[]) =>
      garbled === true ? (await theirs(all)).replaceAll('[FormatError]', '[CryptoError]') : theirs(all)
    const [text, theirText] = [normalText(await mine(args)), normalText(await other(args))]
    expect(text, args.join(' ')).toBe(theirText)
    const asJson = [...args, '--output=json']
    expect(normalJson(json(await mine(asJson))), args.join(' ')).toEqual(normalJson(json(await other(asJson))))
    return text
  }

  const main = '--stanza=main'
  const VIEWS: Record<string, { args: () => string[]; says: RegExp; newest?: boolean }> = {
    everything: { args: () => [], says: /stanza: main[^]*status: ok[^]*stanza: other[^]*status: mixed/ },
    'one stanza': { args: () => [main], says: /cipher: mixed/ },
    'one stanza of one repository': { args: () => [main, '--repo=1'], says: /cipher: none/ },
    'everything in the encrypted repository': {
      args: () => ['--repo=2'],
      says: /cipher: aes-256-cbc[^]*stanza: other/,
    },
    'a stanza that one repository has': {
      args: () => ['--stanza=other'],
      says: /repo1: error \(missing stanza path\)/,
    },
    'a stanza that no repository has': { args: () => ['--stanza=none'], says: /error \(missing stanza path\)/ },
    'a full, with all its details': {
      args: () => [main, `--set=${labels[0]}`],
      says: /database list: Größe, or "size" \(\d+\)[^]*a link => [^]*extra\.conf => [^]*side, two \(\d+\) => [^]*why: two "words" \\ and ä/,
    },
    'a diff with damaged pages': { args: () => [main, `--set=${labels[1]}`], says: /error list: base\/5\/\d+/ },
    'an incr on top of them': { args: () => [main, `--set=${labels[2]}`], says: /incr backup[^]*error list/ },
    'a backup of another repository': {
      args: () => [main, '--repo=2', `--set=${labels[0]}`],
      says: /backup not found/,
    },
    'a backup that no repository has': {
      args: () => [main, '--set=20200101-000000F'],
      says: /requested backup not found/,
    },
    'one type': { args: () => [main, '--type=diff'], says: /diff backup/, newest: true },
    'a type without backups': { args: () => ['--stanza=other', '--type=incr'], says: /wal archive/, newest: true },
    'running commands': {
      args: () => ['--detail-level=progress'],
      says: /status: ok\n\nstanza: other\n {4}status: ok/,
      newest: true,
    },
    'running commands of one stanza': {
      args: () => ['--stanza=other', '--detail-level=progress'],
      says: /different/,
      newest: true,
    },
  }
  const views = Object.entries(VIEWS).filter(([, { newest }]) => isNewest || newest !== true)

  test.each(views)('%s', async (name, { args, says }) => {
    expect(await expectSame(args())).toMatch(says)
    cell(name)
  })

  /** Each change is undone at the end of its test. */
  const inRepo1 = (name: string) => join(site.repo, name)
  const pair = (name: string) => [inRepo1(name), inRepo1(`${name}.copy`)]
  function moveAway(...paths: string[]): void {
    for (const path of paths) renameSync(path, `${path}.away`)
    onTestFinished(() => paths.forEach((path) => renameSync(`${path}.away`, path)))
  }
  function cut(bytes: number, ...paths: string[]): void {
    const before = paths.map((path) => readFileSync(path))
    onTestFinished(() => paths.forEach((path, index) => writeFileSync(path, before[index]!)))
    for (const path of paths) truncateSync(path, bytes)
  }
  function configured(change: (config: string) => string): void {
    const before = readFileSync(site.config, 'utf8')
    onTestFinished(() => writeFileSync(site.config, before))
    writeFileSync(site.config, change(before))
  }
  const STATES: Record<string, { make: () => void; says: RegExp } & Asked> = {
    'a missing backup.info and copy': {
      make: () => moveAway(...pair('backup/main/backup.info')),
      says: /error \(missing stanza data\)/,
    },
    'a missing backup.info': { make: () => moveAway(inRepo1('backup/main/backup.info')), says: /status: ok/ },
    'a truncated backup.info': { make: () => cut(100, ...pair('backup/main/backup.info')), says: /\[FormatError\]/ },
    'an empty backup.info': { make: () => cut(0, ...pair('backup/main/backup.info')), says: /\[ChecksumError\]/ },
    'a missing archive.info': {
      make: () => moveAway(...pair('archive/main/archive.info')),
      says: /\[FileMissingError\]/,
    },
    'a truncated archive.info': {
      make: () => cut(100, ...pair('archive/main/archive.info')),
      says: /\[ChecksumError\]/,
    },
    'no archive': { make: () => moveAway(inRepo1('archive/main')), says: /\[FileMissingError\]/ },
    'no backups': { make: () => moveAway(inRepo1('backup/main')), says: /repo1: error \(missing stanza path\)/ },
    'no repository': { make: () => moveAway(site.repo), says: /repo1: error \(missing stanza path\)/ },
    'a repository that may not be read': {
      make: () => {
        chmodSync(inRepo1('backup'), 0)
        onTestFinished(() => chmodSync(inRepo1('backup'), 0o750))
      },
      says: /\[PathOpenError\]/,
      asUser: true,
    },
    'another passphrase': {
      make: () => configured((config) => config.replace('for tests', 'something else')),
      says: /repo2: error \(other\)\n +\[CryptoError\]/,
      garbled: true,
    },
    'no passphrase': {
      make: () => configured((config) => config.replaceAll(/repo2-cipher.*\n/g, '')),
      says: /repo2: error \(other\)\n +\[CryptoError\]/,
      garbled: true,
    },
  }

  test.each(Object.entries(STATES))('with %s', async (name, { make, says, ...asked }) => {
    make()
    expect(await expectSame([main], asked)).toMatch(says)
    await expectSame([], asked)
    await expectSame([main, '--repo=1'], asked)
    cell(name)
  })

  test('an annotation is written to the repository that has the backup; the list of the other does not change', async () => {
    const lists = [inRepo1('backup/main/backup.info'), join(repo2, 'backup/main/backup.info')]
    const before = lists.map((path) => readFileSync(path))
    const label = readdirSync(join(repo2, 'backup/main')).find((name) => /^\d.*F$/.test(name))!
    await site.pgtsOk(`--set=${label}`, '--annotation=only=repo2', 'annotate')
    expect(lists.map((path, index) => readFileSync(path).equals(before[index]!))).toEqual([true, false])
    expect(await expectSame([main, `--set=${label}`])).toMatch(/annotation\(s\)\n +only: repo2/)
  })

  test('a warning is not mixed with the JSON on stdout', async () => {
    chmodSync(site.config, 0o644)
    onTestFinished(() => chmodSync(site.config, 0o640))
    const args = [`--config=${site.config}`, main, '--output=json', 'info']
    const { stdout, stderr } = await pgts(args, { cwd: site.dir })
    expect(stderr).toBe('')
    expect(JSON.parse(stdout)).toHaveLength(1)
    const asked = await pgts([...args, '--log-level-console=warn'], { cwd: site.dir })
    expect(asked.stderr).toMatch(/WARN: .*contains secrets/)
    expect(asked.stdout).toBe(stdout)
  })

  test.each(['pgts', 'pgbackrest'] as const)(
    'while a backup of %s runs',
    async (who) => {
      const locks = join(site.dir, 'lock')
      let started: (pid: number) => void = () => undefined
      const pid = new Promise<number>((resolve) => (started = resolve))
      const args = ['--repo=2', '--type=full', '--no-archive-check', '--compress-level=9', 'backup']
      const ended = site[who](args, { onStart: started })
      const running = await pid
      onTestFinished(async () => {
        signal(running, 'SIGKILL')
        await ended
        for (const name of readdirSync(locks)) rmSync(join(locks, name))
      })
      // The backup is suspended, so that both programs see the same state.
      const progress = () =>
        readdirSync(locks)
          .filter((name) => name.startsWith('main-backup'))
          .map((name) => /"(pctCplt|szCplt)":[1-9]/.test(readFileSync(join(locks, name), 'latin1')))
      await until('the progress of the backup', () => progress().length > 0 && !progress().includes(false), {
        everyMs: 2,
      })
      signal(running, 'SIGSTOP')
      expect(await expectSame([main])).toMatch(/status: ok \(backup\/expire running - \d+\.\d\d% complete\)/)
      await expectSame([])
      cell(`running ${who}`)
    },
    60_000,
  )
})
