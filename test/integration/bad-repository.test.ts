import { spawn, type ChildProcess } from 'node:child_process'
import { chmodSync, existsSync, readdirSync, readFileSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { cleanEnv, isInstalled, makeTestDir, pgtsProgram, runAs, serverBinaries } from '../support/postgres/postgres.ts'
import { expectNoInternals, expectRefusal, seen } from '../support/refusal.ts'
import { aSite, PGBACKREST, type Site } from '../support/sites/site.ts'
import { testUser } from '../support/processes/test-user.ts'

let site: Site
let label: string
beforeAll(async () => {
  site = await aSite({ walSegsizeMb: 1, options: { 'compress-type': 'none', 'archive-timeout': '30s' } })
  await site.cluster.query('create table t as select g, md5(g::text) from generate_series(1, 5000) g')
  await site.pgtsOk('stanza-create')
  await site.pgtsOk('backup')
  label = labels(site)[0]!
})
afterAll(() => site[Symbol.asyncDispose]())

function labels(at: Site): string[] {
  return readdirSync(join(at.repo, 'backup/main')).filter((name) => /^\d{8}-\d{6}F$/.test(name))
}

const info = (name = '') => join(site.repo, 'backup/main', name)

/** Restore these files after `work`. */
async function keeping(paths: string[], work: () => Promise<void>): Promise<void> {
  const before = paths.map((path) => readFileSync(path))
  try {
    await work()
  } finally {
    paths.forEach((path, index) => writeFileSync(path, before[index]!))
  }
}

describe('a stored file that is damaged', () => {
  test('is named by restore, and the partial cluster cannot start', async () => {
    const file = await site.cluster.query("select pg_relation_filepath('t') as path")
    const relation = String(file[0]?.['path'])
    const stored = join(site.repo, 'backup/main', label, 'pg_data', relation)
    const target = makeTestDir('damaged')
    await keeping([stored], async () => {
      const bytes = readFileSync(stored)
      bytes[bytes.length >> 1]! ^= 0x10
      writeFileSync(stored, bytes)
      expectRefusal(await site.pgts([`--pg1-path=${target}`, 'restore']), {
        code: 26,
        says: [join(target, relation), `backup/main/${label}/pg_data/${relation}`, /SHA-1 [0-9a-f]{40}/],
        hint: /--set|another|older/,
      })
      expect(existsSync(join(target, 'global/pg_control'))).toBe(false)
      expect(readdirSync(join(site.dir, 'lock'))).toEqual([])
      const start = await runAs(testUser, join(serverBinaries(15), 'postgres'), ['-D', target])
      expect(start.code).not.toBe(0)
      expect(start.stderr).toMatch(/pg_control|could not/)
    })
    // When the file is repaired, restore --delta completes the same directory.
    await site.pgtsOk(`--pg1-path=${target}`, '--delta', 'restore')
    expect(existsSync(join(target, 'global/pg_control'))).toBe(true)
  })
})

describe('damaged info files', () => {
  test('a truncated backup.info is replaced by its copy, with a warning', async () => {
    truncateSync(info('backup.info'), 100)
    const result = await site.pgts(['--type=full', 'backup'])
    expect(result.code).toBe(0)
    expect(result.stdout).toMatch(/WARN: .*backup\.info is unusable, so its copy was used/)
    expect(result.stdout).toMatch(/HINT: /)
    expectNoInternals(seen(result))
    const { backup } = JSON.parse((await site.pgtsOk('--output=json', 'info')).stdout)[0]
    expect(backup.map((entry: { label: string }) => entry.label)).toEqual(labels(site))
    expect(backup).toHaveLength(2)
    // Both files are right again, so no warning is logged.
    expect((await site.pgtsOk('expire')).stdout).toBe('')
    expect(readFileSync(info('backup.info'))).toEqual(readFileSync(info('backup.info.copy')))
  })
  test('a damaged backup.info and copy are an error of every command', async () => {
    await keeping([info('backup.info'), info('backup.info.copy')], async () => {
      truncateSync(info('backup.info'), 100)
      truncateSync(info('backup.info.copy'), 0)
      for (const args of [['backup'], ['expire'], ['--no-archive-check', 'check']]) {
        const before = labels(site)
        const result = await site.pgts(args)
        expect(seen(result)).toMatch(/neither .*backup\.info nor its copy can be used/)
        expect(seen(result)).toMatch(/HINT: /)
        expectNoInternals(seen(result))
        expect(result.code).not.toBe(0)
        expect(labels(site)).toEqual(before)
      }
      expectRefusal(await site.pgts([`--pg1-path=${makeTestDir('none')}`, 'restore']), {
        code: 28,
        says: [/neither .*backup\.info nor its copy can be used/],
        hint: /restore the file from a snapshot/,
      })
      const report = await site.pgts(['info'])
      expect(report.stdout).toMatch(/status: error/)
      expectNoInternals(seen(report))
    })
    await site.pgtsOk('--no-archive-check', 'check')
  })
  test('with a damaged archive.info and copy WAL is refused, so PostgreSQL keeps it', async () => {
    const names = ['archive.info', 'archive.info.copy'].map((name) => join(site.repo, 'archive/main', name))
    const wal = String(
      (await site.cluster.query('select pg_walfile_name(pg_current_wal_insert_lsn()) as name'))[0]?.['name'],
    )
    await keeping(names, async () => {
      for (const name of names) truncateSync(name, 60)
      const result = await site.pgts(['archive-push', join(site.cluster.dataDir, 'pg_wal', wal)])
      expect(seen(result)).toMatch(/ERROR: \[\d{3}\]: repo1: neither .*archive\.info nor its copy can be used/)
      expectNoInternals(seen(result))
      expect(result.code).toBeGreaterThan(1)
    })
  })
})

describe('a repository that cannot be written', () => {
  test('has a directory without permission: the error names it', async () => {
    const places = ['backup/main', 'archive/main/15-1'].map((name) => join(site.repo, name))
    for (const place of places) chmodSync(place, 0o550)
    try {
      expectRefusal(await site.pgts(['--no-archive-check', 'backup']), {
        code: 47,
        says: [places[0]!, /permission denied/],
        hint: new RegExp(`runs as uid ${testUser.uid} \\(${testUser.name}\\)`),
      })
      expect(labels(site)).toHaveLength(2)
    } finally {
      for (const place of places) chmodSync(place, 0o750)
    }
  })
  test('does not exist: the error names it', async () => {
    const path = join(makeTestDir('read-only'), 'repo')
    chmodSync(join(path, '..'), 0o555)
    expectRefusal(await site.pgts([`--repo1-path=${path}`, 'stanza-create']), {
      code: 47,
      says: [path, /permission denied/],
      hint: new RegExp(`runs as uid ${testUser.uid} \\(${testUser.name}\\)`),
    })
    chmodSync(join(path, '..'), 0o755)
  })
})

describe('a second backup at the same time', () => {
  async function starting(): Promise<unknown[]> {
    const rows = await site.cluster.query(
      "select pid from pg_stat_activity where query ~ 'pg_backup_start' and pid <> pg_backend_pid() and state = 'active'",
    )
    return rows.map(({ pid }) => pid)
  }

  /** A backup without start-fast waits for the next checkpoint of the server, for minutes. */
  async function waiting(cmd: string, args: string[]): Promise<ChildProcess> {
    // The sessions of killed processes continue to wait until the server answers them.
    for (const pid of await starting()) await site.cluster.query('select pg_terminate_backend($1)', [pid])
    await expect.poll(async () => (await starting()).length, { timeout: 20_000 }).toBe(0)
    await site.cluster.query('insert into t select g from generate_series(1, 20000) g')
    const child = spawn(cmd, [`--config=${site.config}`, '--stanza=main', '--no-start-fast', ...args], {
      cwd: site.dir,
      env: cleanEnv(),
      stdio: 'ignore',
      ...(testUser.switched ? { uid: testUser.uid, gid: testUser.gid } : {}),
    })
    await expect.poll(async () => (await starting()).length, { timeout: 20_000 }).toBe(1)
    return child
  }

  async function heldBy(child: ChildProcess, name: RegExp): Promise<void> {
    try {
      for (const command of ['backup', 'expire']) {
        const result = await site.pgts([command])
        expectRefusal(result, { code: 50, says: [`process ${child.pid}`, name, /main-backup/], hint: /wait/ })
      }
    } finally {
      child.kill('SIGKILL')
    }
    // The lock was released by the end of its holder, although its file exists.
    await expect.poll(async () => (await site.pgts(['expire'])).code, { timeout: 10_000 }).toBe(0)
  }

  test('by pgts is refused, with the process that holds the lock', async () => {
    await heldBy(await waiting(pgtsProgram(), ['backup']), /pgts/)
  }, 60_000)
  const installed = PGBACKREST.includes('/') || isInstalled(PGBACKREST)
  test.runIf(installed)(
    'by pgbackrest is refused, because it takes the same locks',
    async () => {
      await heldBy(await waiting(PGBACKREST, ['backup']), /pgbackrest/)
    },
    60_000,
  )
  test.runIf(installed)(
    'by pgts is refused while pgbackrest takes a backup',
    async () => {
      const child = await waiting(pgtsProgram(), ['backup'])
      const result = await site.pgbackrest(['--type=full', 'backup'])
      child.kill('SIGKILL')
      expect(result.code).toBe(50)
    },
    60_000,
  )
  test('succeeds after the first has ended', async () => {
    await site.pgtsOk('backup')
  })
})
