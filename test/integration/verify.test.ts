import {
  cpSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { gunzipSync } from 'node:zlib'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { jobHandlers } from '../../src/core/jobs.ts'
import type { VerifyRequest } from '../../src/core/verify/request.ts'
import { verifyRepository } from '../../src/core/verify/verify.ts'
import type { VerifyReport } from '../../src/core/verify/report.ts'
import { posixStorage } from '../../src/storage/posix.ts'
import { systemClock } from '../../src/util/clock.ts'
import { silentLogger } from '../../src/util/log.ts'
import { inlineExecutor } from '../../src/worker/inline.ts'
import { aSite, PGBACKREST, type Site } from '../support/sites/site.ts'
import { giveToTestUser, isInstalled, makeTestDir } from '../support/processes/test-user.ts'
import { workerEnvWith, repositoryWith } from '../support/builders/repository.ts'

/** Repositories of a real server with random damages: verify must report the damaged files, and no others. */
const PASS = 'for tests'
const VARIANTS = {
  'single files, gz': { 'compress-type': 'gz' },
  'bundles and blocks, zst, encrypted': {
    'compress-type': 'zst',
    'repo1-bundle': 'y',
    'repo1-block': 'y',
    'repo1-cipher-type': 'aes-256-cbc',
    'repo1-cipher-pass': PASS,
  },
  'bundles, not compressed': { 'compress-type': 'none', 'repo1-bundle': 'y' },
} as const

const isSegment = (file: string) => /\/[0-9A-F]{24}-/.test(file)

/** Number of damages of a repository, and their seed; more and others by hand. */
const RUNS = Number(process.env['PGTS_TEST_RUNS'] ?? 24)
const SEED = Number(process.env['PGTS_TEST_SEED'] ?? 42)

async function verified(
  repo: string,
  change: Partial<VerifyRequest> & { encrypted?: boolean } = {},
): Promise<VerifyReport> {
  const { encrypted = false, ...more } = change
  const cipher = { type: 'aes-256-cbc', origin: 'the test', passphrase: () => PASS } as const
  const repository = repositoryWith(posixStorage(repo), encrypted ? { cipher } : {})
  await using executor = inlineExecutor(jobHandlers, async () => workerEnvWith(repository, 64 * 1024))
  return await verifyRepository({
    repository,
    stanza: 'main',
    executor,
    clock: systemClock,
    log: silentLogger,
    recordTimes: false,
    signal: new AbortController().signal,
    ...more,
  })
}

/** All findings of a report, as text. */
function complaints({ problems, archives, backups }: VerifyReport): string {
  return JSON.stringify({
    problems: problems.filter(({ level }) => level === 'error'),
    faulty: [...archives, ...backups].flatMap(({ faulty }) => faulty),
    missing: backups.filter(({ status }) => status === 'manifest missing').map(({ label }) => label),
  })
}

describe.each(Object.entries(VARIANTS))('%s', (_name, options) => {
  const encrypted = 'repo1-cipher-pass' in options
  let site: Site
  let labels: string[]

  beforeAll(async () => {
    site = await aSite({
      version: 16,
      walSegsizeMb: 1,
      options: { ...options, 'process-max': '2', 'start-fast': 'y' },
    })
    await site.pgtsOk('stanza-create')
    await site.cluster.query('create table t as select g id, md5(g::text) v from generate_series(1, 20000) g')
    await site.pgtsOk('--type=full', 'backup')
    await site.cluster.query('update t set v = v where id % 500 = 0')
    await site.pgtsOk('--type=incr', 'backup')
    await site.cluster.query('insert into t values (0)')
    await site.pgtsOk('check')
    // The following tests need a repository without writers.
    await site.cluster.stop('fast')
    labels = readdirSync(join(site.repo, 'backup/main'))
      .filter((entry) => /^\d{8}-/.test(entry))
      .sort()
  }, 120_000)
  afterAll(async () => {
    await site?.[Symbol.asyncDispose]()
  })

  test('an intact repository has no finding, and everything is read', async () => {
    const report = await verified(site.repo, { encrypted })
    expect(complaints(report)).toBe(JSON.stringify({ problems: [], faulty: [], missing: [] }))
    expect(report.ok).toBe(true)
    expect(report.backups.map(({ label, status }) => [label, status])).toEqual(labels.map((label) => [label, 'valid']))
    expect(report.backups.flatMap(({ orphans }) => orphans)).toEqual([])
    expect(report.backups[0]!.checked).toBeGreaterThan(700)
    expect(report.archives[0]!.checked).toBeGreaterThan(2)
    expect(report.archives.map(({ gaps }) => gaps)).toEqual([[]])
    const last = report.archives[0]!.ranges.at(-1)!.last
    expect(report.backups.map(({ recoverableTo }) => recoverableTo)).toEqual([last, last])
  })

  test(`each of ${RUNS} flipped or truncated bytes and removed files is reported, and nothing else`, async () => {
    const dir = makeTestDir('verify')
    const repo = join(dir, 'repo')
    cpSync(site.repo, repo, { recursive: true, verbatimSymlinks: true })
    const files = readdirSync(repo, { recursive: true, encoding: 'utf8', withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map((entry) => join(entry.parentPath, entry.name).slice(repo.length + 1))
      .filter((file) => !file.startsWith('pgts/') && !file.includes('backup.history') && !file.includes('/latest'))
      .filter((file) => statSync(join(repo, file)).size > 0)
      .sort()
      // A missing segment at either end of the archive cannot be detected; that a backup needs it is another test. Labels are not needed.
      .filter(
        (file, _index, all) =>
          !file.endsWith('.backup') && ![all.find(isSegment), all.findLast(isSegment)].includes(file),
      )
    // Large files are rare and hold most of the data, so they are damaged as often as all the small ones.
    const large = files.filter((file) => statSync(join(repo, file)).size > 20_000)
    const infos = files.filter((file) => /\.info|manifest/.test(file))
    let random = SEED
    const next = (below: number) => (random = (random * 1103515245 + 12345) % 2 ** 31) % below
    const missed: string[] = []
    for (let run = 0; run < RUNS; run++) {
      const pool = [files, large, infos][run % 3]!
      const file = pool[next(pool.length)]!
      const path = join(repo, file)
      const original = readFileSync(path)
      const kind = ['flip', 'cut', 'remove'][next(3)]!
      if (kind === 'flip') {
        const bytes = Buffer.from(original)
        bytes[next(bytes.length)]! ^= 1 << next(8)
        writeFileSync(path, bytes)
      } else if (kind === 'cut') truncateSync(path, next(original.length))
      else rmSync(path)
      const report = await verified(repo, { encrypted })
      const reported = complaints(report)
      const name = /\/([0-9A-F]{24})-[^/]*$/.exec(file)?.[1] ?? file.replace(/\/backup\.manifest$/, '')
      // Between two backups expire may have removed it, so it is reported, but not as an error.
      if (report.archives.some(({ gaps }) => gaps.some((gap) => gap.first === name && gap.byExpire))) {
        writeFileSync(path, original)
        continue
      }
      if (report.ok || !reported.includes(name.replace(/^backup\/main\/(?=[^/]*$)/, '')))
        missed.push(`${kind} ${file}: ${reported}`)
      // A damaged segment or file is one finding.
      const count = [...report.archives, ...report.backups].flatMap(({ faulty }) => faulty).length
      if (!file.includes('/bundle/') && count > 1) missed.push(`${kind} ${file} made ${count} complaints`)
      writeFileSync(path, original)
    }
    expect(missed).toEqual([])
    expect((await verified(repo, { encrypted })).ok).toBe(true)
  }, 240_000)

  if (!('repo1-bundle' in options))
    test('a missing empty file is reported, too', async () => {
      const repo = join(makeTestDir('verify'), 'repo')
      cpSync(site.repo, repo, { recursive: true, verbatimSymlinks: true })
      const [full = ''] = labels
      const base = join('backup/main', full, 'pg_data/base/1')
      const empty = readdirSync(join(repo, base)).find(
        (file) => gunzipSync(readFileSync(join(repo, base, file))).length === 0,
      )!
      rmSync(join(repo, base, empty))
      const { ok, backups } = await verified(repo, { encrypted })
      expect(ok).toBe(false)
      expect(backups[0]!.faulty).toMatchObject([{ repoName: `${base}/${empty}`, fault: 'missing' }])
    })

  test('the effect of a damage is reported: the dependent backups, and the end of recovery', async () => {
    const repo = join(makeTestDir('verify'), 'repo')
    cpSync(site.repo, repo, { recursive: true, verbatimSymlinks: true })
    const [full = '', incr = ''] = labels
    // WAL between the two backups is needed by recovery from the first only; the last segment by both.
    const wal = join(repo, 'archive/main/16-1/0000000100000000')
    const segments = readdirSync(wal)
      .filter((entry) => /^[0-9A-F]{24}-/.test(entry))
      .sort()
    const last = segments.at(-1)!
    const bytes = readFileSync(join(wal, last))
    bytes[bytes.length >> 1]! ^= 1
    writeFileSync(join(wal, last), bytes)
    const late = await verified(repo, { encrypted })
    expect(late.ok).toBe(false)
    expect(late.backups.map(({ status, stopsBefore }) => ({ status, stopsBefore }))).toEqual([
      { status: 'valid', stopsBefore: last.slice(0, 24) },
      { status: 'valid', stopsBefore: last.slice(0, 24) },
    ])

    // Without its first segment a backup cannot be used.
    const first = late.backups[1]!
    expect(first.label).toBe(incr)
    rmSync(join(wal, segments[0]!))
    const early = await verified(repo, { encrypted })
    const gone = early.backups[0]!
    expect(gone.label).toBe(full)
    if (gone.status === 'invalid')
      expect(gone.reasons.join()).toMatch(/WAL segment .* is not in the archive|WAL after segment/)

    // Without its full an incremental backup cannot be used.
    rmSync(join(repo, 'backup/main', full), { recursive: true })
    const without = await verified(repo, { encrypted })
    expect(without.backups.map(({ label, status }) => `${label} ${status}`)).toEqual([
      `${full} manifest missing`,
      `${incr} invalid`,
    ])
    expect(without.backups[1]!.reasons.join()).toContain(`it builds on ${full}`)
  })
})

describe('the command verify', () => {
  let site: Site
  beforeAll(async () => {
    site = await aSite({ version: 15, options: { 'compress-type': 'zst' } })
    await site.pgtsOk('stanza-create')
    await site.pgtsOk('--type=full', 'backup')
    await site.pgtsOk('check')
    await site.cluster.stop('fast')
  }, 60_000)
  afterAll(async () => {
    await site?.[Symbol.asyncDispose]()
  })
  const memory = () =>
    JSON.parse(readFileSync(join(site.repo, 'pgts/main/verify.json'), 'utf8')) as {
      parts: Record<string, { provenMs?: number; donePieces?: number }>
    }

  test('prints nothing for an intact repository, and the lines of pgbackrest with --verbose', async () => {
    expect((await site.pgtsOk('--output=text', 'verify')).stdout).toBe('')
    const { stdout } = await site.pgtsOk('--output=text', '--verbose', 'verify')
    expect(stdout).toMatch(
      /^stanza: main\nstatus: ok\n {2}archiveId: 15-1, total WAL checked: (\d+), total valid WAL: \1\n/,
    )
    expect(stdout.split('\n').every((line) => line.length <= 132)).toBe(true)
    const label = readdirSync(join(site.repo, 'backup/main')).find((entry) => entry.endsWith('F'))!
    expect(stdout).toMatch(
      new RegExp(`backup: ${label}, status: valid, total files checked: (\\d+), total valid files: \\1\\n`),
    )
  })

  test('ends with [104] for a damaged file, and reports the same file as pgbackrest', async () => {
    const label = readdirSync(join(site.repo, 'backup/main')).find((entry) => entry.endsWith('F'))!
    const file = join(site.repo, 'backup/main', label, 'pg_data/global/pg_filenode.map.zst')
    const original = readFileSync(file)
    const damaged = Buffer.from(original)
    damaged[damaged.length - 3]! ^= 4
    writeFileSync(file, damaged)
    try {
      const ours = await site.pgts(['--output=text', 'verify'])
      expect(ours.code).toBe(104)
      expect(ours.stdout).toContain('status: error')
      expect(ours.stdout).toMatch(/checksum invalid: 1|other: 1/)
      expect(ours.stdout).toContain('pg_data/global/pg_filenode.map')
      const json = await site.pgts(['--output=json', 'verify'])
      expect(json.code).toBe(104)
      expect(JSON.parse(json.stdout)).toMatchObject([
        { ok: false, backup: [{ status: 'invalid', faulty: [{ fault: 'checksum' }] }] },
      ])
      if (isInstalled(PGBACKREST) || PGBACKREST.includes('/')) {
        expect((await site.pgbackrest(['--output=text', 'verify'])).stdout).toContain('status: error')
      }
      // Without --output the log has the findings.
      expect((await site.pgts(['verify'])).stdout).toContain(`backup ${label} cannot be used safely`)
    } finally {
      writeFileSync(file, original)
      giveToTestUser(file)
    }
    await site.pgtsOk('verify')
  })

  test('with --since skips recently verified parts until they change', async () => {
    await site.pgtsOk('verify')
    const before = memory()
    expect(Object.keys(before.parts).some((key) => key.startsWith('archive/15-1/'))).toBe(true)
    const again = await site.pgtsOk('--output=text', '--verbose', '--since=1d', 'verify')
    expect(again.stdout).toContain(`verified recently, not read again: ${Object.keys(before.parts).length} parts`)
    expect(again.stdout).toContain('read: 0B')
    expect(memory()).toEqual(before)
    // Parts of existing files only.
    const label = readdirSync(join(site.repo, 'backup/main')).find((entry) => entry.endsWith('F'))!
    const file = join(site.repo, 'backup/main', label, 'pg_data/PG_VERSION.zst')
    renameSync(file, `${file}.away`)
    try {
      const lost = await site.pgts(['--output=text', '--since=1d', 'verify'])
      expect(lost.code).toBe(104)
      expect(lost.stdout).toContain('PG_VERSION')
    } finally {
      renameSync(`${file}.away`, file)
    }
  })

  test('with --max-time ends in time, and the next run continues', async () => {
    rmSync(join(site.repo, 'pgts'), { recursive: true, force: true })
    // A deadline that is over before the first read.
    const nothing = await verified(site.repo, { deadlineMs: 0 })
    expect(nothing).toMatchObject({ ok: true, readBytes: 0 })
    expect(nothing.skipped.late).toBeGreaterThan(1)
    // A deadline after a few reads of the clock: some parts are verified, then the rest.
    let rest = nothing.skipped.late
    for (let run = 0; rest > 0; run++) {
      expect(run).toBeLessThan(500)
      let looks = 0
      const clock = { ...systemClock, nowMs: () => (looks++ < 80 ? 1000 + run : 1_000_000) }
      rest = (await verified(site.repo, { deadlineMs: 500_000, clock })).skipped.late
    }
    const parts = Object.values(memory().parts)
    expect(parts.every(({ provenMs }) => provenMs !== undefined)).toBe(true)
    giveToTestUser(join(site.repo, 'pgts'))
  })

  test('records the results of an interrupted run, and keeps earlier results', async () => {
    rmSync(join(site.repo, 'pgts'), { recursive: true, force: true })
    await verified(site.repo)
    const before = memory().parts
    const stop = new AbortController()
    let looks = 0
    const clock = {
      ...systemClock,
      nowMs: () => {
        // After the archive, and before the end of the backup.
        if (++looks === 7) stop.abort(new Error('interrupted'))
        return Date.now() + 1_000_000
      },
    }
    await expect(verified(site.repo, { clock, signal: stop.signal })).rejects.toThrow('interrupted')
    const after = memory().parts
    expect(Object.keys(after)).toEqual(Object.keys(before))
    const [archive, backup] = [/^archive/, /^backup/].map((kind) => Object.keys(before).find((key) => kind.test(key))!)
    expect(after[archive!]!.provenMs).toBeGreaterThan(before[archive!]!.provenMs! + 500_000)
    expect(after[backup!]!.provenMs).toBe(before[backup!]!.provenMs)
    giveToTestUser(join(site.repo, 'pgts'))
  })

  test('ignores a damaged verify.json, and verifies a read-only repository', async () => {
    writeFileSync(join(site.repo, 'pgts/main/verify.json'), '{ half')
    utimesSync(join(site.repo, 'pgts/main/verify.json'), 0, 0)
    giveToTestUser(join(site.repo, 'pgts'))
    const done = await site.pgtsOk('--output=text', '--verbose', '--since=1d', 'verify')
    expect(done.stdout).not.toContain('read: 0B')
  })
})
