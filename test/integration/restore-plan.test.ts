import { existsSync, readdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { smallDisk } from '../support/faults/small-disk.ts'
import { makeTestDir, startCluster } from '../support/postgres/postgres.ts'
import { untilArchived } from '../support/sites/replica.ts'
import { aSite, type Site } from '../support/sites/site.ts'

let site: Site
/** Of the only backup. */
let label: string
/** A time after the first table and before the second. */
let moment: string
/** The segments that were archived after the backup. */
const later: string[] = []
beforeAll(async () => {
  site = await aSite({ version: 15, walSegsizeMb: 1 })
  const { cluster } = site
  await site.pgtsOk('stanza-create')
  await site.pgtsOk('--type=full', 'backup')
  label = readdirSync(join(site.repo, 'backup/main')).find((name) => /^\d{8}-\d{6}F$/.test(name))!
  await sleep(1100)
  for (let i = 0; i < 3; i++) {
    await cluster.query(`create table t${i} as select 1 as a`)
    const [row] = await cluster.query('select pg_walfile_name(pg_switch_wal()) as name, now()::text as at')
    later.push(String(row!['name']))
    if (i === 0) moment = String(row!['at'])
  }
  await untilArchived(cluster)
}, 120_000)
afterAll(() => site?.[Symbol.asyncDispose]())

interface Plan {
  possible: boolean
  problems: { exitCode: number | null; message: string; hints: string[] }[]
  backup: { label: string; why: string }
  target: { verdict: string }
  wal: { first: string; last: string; segments: number; missing: string | null; gap: boolean } | null
  files: { files: number; write: { files: number }; overwrite: number; remove: string[] }
}

async function planOf(...args: string[]): Promise<Plan & { code: number | null }> {
  const { code, stdout } = await site.pgts(['--dry-run', '--output=json', ...args, 'restore'])
  return { ...(JSON.parse(stdout) as Plan), code }
}

const elsewhere = () => join(makeTestDir('restored'), 'data')
const copyTo = (dir: string) => [`--pg1-path=${dir}`, '--archive-mode=off']

/** Every name below a directory, with its modification time. */
function listing(root: string): string[] {
  return readdirSync(root, { recursive: true, encoding: 'latin1' }).sort()
}

describe('restore --dry-run', () => {
  test('reports backup, WAL, files and settings in 80 columns, and changes nothing', async () => {
    const dir = elsewhere()
    const { code, stdout } = await site.pgts([...copyTo(dir), '--dry-run', 'restore'])
    expect(code).toBe(0)
    expect(stdout).toMatch(/^restore of stanza main: possible\n/)
    expect(stdout).toContain(`backup:       ${label}, full, `)
    expect(stdout).toMatch(/wal: {10}0000000100000000[0-9A-F]{8} to 0000000100000000[0-9A-F]{8}\n/)
    expect(stdout).toMatch(/target: {7}end of the archive: can be reached\n/)
    expect(stdout).toMatch(/delete: {7}nothing\n/)
    expect(stdout).toContain("archive_mode = 'off'")
    for (const line of stdout.split('\n')) if (!line.includes('/')) expect(line.length).toBeLessThanOrEqual(80)
    expect(existsSync(dir)).toBe(false)
  })

  test('reports a running server and existing files with the code of the refusal', async () => {
    const plan = await planOf('--delta')
    expect(plan).toMatchObject({ code: 38, possible: false, backup: { label, why: 'the newest backup' } })
    expect(plan.problems[0]!.message).toContain('PostgreSQL is running')
    expect(plan.files.remove.length).toBeGreaterThan(0)
  })

  test('says that a target can be reached exactly when recovery reaches it', async () => {
    const reachable = ['--type=time', `--target=${moment}`, '--target-action=promote']
    const dir = elsewhere()
    const plan = await planOf(...copyTo(dir), ...reachable)
    expect(plan).toMatchObject({ code: 0, target: { verdict: 'reachable' }, wal: { missing: null } })
    await site.pgtsOk(...copyTo(dir), ...reachable, 'restore')
    await using restored = await startCluster({ version: 15, dir })
    await restored.untilPrimary()
    const rows = await restored.query("select relname from pg_class where relname like 't_' order by 1")
    expect(rows.map((row) => row['relname'])).toEqual(['t0'])
  }, 60_000)
})

describe('restore refuses with exit code 075, before anything is changed,', () => {
  test('a target beyond the archive, with the reachable alternative', async () => {
    const dir = elsewhere()
    const target = ['--type=time', '--target=2099-01-01 00:00:00+00']
    expect(await planOf(...copyTo(dir), ...target)).toMatchObject({ code: 75, target: { verdict: 'unreachable' } })
    const { code, stdout } = await site.pgts([...copyTo(dir), ...target, 'restore'])
    expect(code).toBe(75)
    expect(stdout).toMatch(/ERROR: \[075\]: target time .* is in the future: .*HINT: omit --type and --target/s)
    expect(stdout).toContain('HINT: use --no-restore-check')
    expect(existsSync(dir)).toBe(false)
    await site.pgtsOk('--no-restore-check', ...copyTo(dir), ...target, 'restore')
    expect(existsSync(join(dir, 'recovery.signal'))).toBe(true)
  })

  test('a file system without the space for the files', async (context) => {
    const disk = smallDisk('8m')
    if (disk === undefined) return context.skip()
    const { code, stdout } = await site.pgts([...copyTo(join(disk, 'data')), 'restore'])
    expect(code).toBe(75)
    expect(stdout).toMatch(/ERROR: \[075\]: the file system of '.*' has [\d.]+MB free, but the restored files need/)
    expect(readdirSync(disk)).toEqual([])
  })

  test('WAL that is missing between start and stop of the backup', async () => {
    const dir = elsewhere()
    await site.pgtsOk(...copyTo(dir), 'restore')
    const before = listing(dir)
    const { wal } = await planOf('--delta', ...copyTo(dir))
    const directory = join(site.repo, 'archive/main/15-1', wal!.first.slice(0, 16))
    rmSync(
      join(
        directory,
        readdirSync(directory).find((name) => name.startsWith(`${wal!.first}-`))!,
      ),
    )

    expect(await planOf('--delta', ...copyTo(dir))).toMatchObject({
      code: 75,
      target: { verdict: 'unreachable' },
      wal: { missing: wal!.first, gap: true },
    })
    const { code, stdout } = await site.pgts(['--delta', ...copyTo(dir), 'restore'])
    expect(code).toBe(75)
    expect(stdout).toContain(
      `WAL segment ${wal!.first} is not in the archive: backup ${label} cannot become consistent`,
    )
    expect(listing(dir)).toEqual(before)
    await site.pgtsOk('--no-restore-check', '--delta', ...copyTo(dir), 'restore')
  }, 60_000)
})
