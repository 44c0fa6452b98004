import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { isInstalled } from '../support/postgres/postgres.ts'
import { giveToTestUser, makeTestDir, type RunResult, serverBinaries } from '../support/postgres/postgres.ts'
import { aSite, type Site, type SiteOptions } from '../support/sites/site.ts'
import { until } from '../support/until.ts'

/** Members of the report that a test looks at. */
interface Report {
  readonly result: string
  readonly label: string
  readonly postgres?: string
  readonly replayLsn?: string
  readonly lastCommitMs?: number
  readonly kept?: string
  readonly problem?: { readonly code: number; readonly message: string }
  readonly durations: { readonly restoreMs: number; readonly recoveryMs: number; readonly totalMs: number }
  readonly checks: readonly { readonly name: string; readonly result: string; readonly detail?: string }[]
}

/** A site whose drills restore to a directory of their own. */
class DrillSite {
  readonly scratch = join(makeTestDir('drill'), 'd')
  private constructor(readonly site: Site) {}

  static async create(options: SiteOptions = {}): Promise<DrillSite> {
    const drills = new DrillSite(await aSite({ walSegsizeMb: 1, ...options }))
    await drills.site.pgtsOk('stanza-create')
    return drills
  }

  get directory(): string {
    return join(this.scratch, 'main')
  }

  run(...args: string[]): Promise<RunResult> {
    return this.site.pgts([`--drill-path=${this.scratch}`, ...args, 'drill'])
  }

  /** @returns the report, and the exit code */
  async report(...args: string[]): Promise<Report & { readonly code: number | null }> {
    const { code, stdout, stderr } = await this.run('--output=json', ...args)
    if (stdout === '') throw new Error(`no report: ${stderr}`)
    return { ...(JSON.parse(stdout) as Report), code }
  }

  /** The records in the repository, oldest first. */
  records(): readonly (Report & { readonly version: number })[] {
    const directory = join(this.site.repo, 'pgts/main/drill')
    const names = existsSync(directory) ? readdirSync(directory).sort() : []
    return names.map((name) => JSON.parse(readFileSync(join(directory, name), 'utf8')) as Report & { version: number })
  }

  /** Writes a file for --sql. */
  sql(text: string): string {
    const path = join(makeTestDir('sql'), 'checks.sql')
    writeFileSync(path, text)
    return path
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.site[Symbol.asyncDispose]()
  }
}

const DEBIAN = '/usr/lib/postgresql/15/bin'
const hasPrograms = isInstalled(`${DEBIAN}/pg_amcheck`)
const resultsOf = ({ checks }: Report) => Object.fromEntries(checks.map(({ name, result }) => [name, result]))

describe('a drill of PostgreSQL 15', () => {
  let drills: DrillSite
  let lsn: string
  beforeAll(async () => {
    drills = await DrillSite.create()
    const { cluster } = drills.site
    await cluster.query('create extension amcheck')
    await cluster.query('create table orders as select i as id from generate_series(1, 10000) i')
    await cluster.query('alter table orders add primary key (id)')
    await drills.site.pgtsOk('--type=full', 'backup')
    await cluster.query('insert into orders values (0)')
    lsn = String((await cluster.query('select pg_current_wal_insert_lsn()::text as lsn'))[0]?.['lsn'])
    await cluster.query('delete from orders')
    await drills.site.pgtsOk('check')
  }, 120_000)
  afterAll(() => drills?.[Symbol.asyncDispose]())

  test('restores, recovers, checks, records and leaves nothing', { timeout: 120_000 }, async () => {
    const spool = join(drills.site.dir, 'spool')
    const before = [readdirSync(spool), archived(drills.site)]
    const sql = drills.sql('-- orders are there\nselect count(*) = 10000 from orders;\nselect pg_is_in_recovery();\n')
    const report = await drills.report(`--sql=${sql}`, `--binaries=${hasPrograms ? DEBIAN : serverBinaries(15)}`)
    expect(report).toMatchObject({ code: 0, result: 'passed' })
    expect(report.checks.map(({ name, result, detail }) => ({ name, result, detail }))).toEqual([
      { name: 'collation', result: 'passed', detail: undefined },
      hasPrograms
        ? { name: 'amcheck', result: 'passed', detail: 'postgres' }
        : { name: 'amcheck', result: 'skipped', detail: expect.stringContaining('pg_amcheck') as string },
      { name: 'sql', result: 'passed', detail: 'orders are there' },
      { name: 'sql', result: 'passed', detail: 'select pg_is_in_recovery()' },
      { name: 'pages', result: 'passed', detail: hasPrograms ? 'pg_checksums' : expect.any(String) },
    ])
    expect(report.postgres).toMatch(/^15\.\d+$/)
    expect(existsSync(drills.directory)).toBe(false)
    // Nothing was archived, and the spool of production was not used.
    expect([readdirSync(spool), archived(drills.site)]).toEqual(before)
    const { code: _, ...shown } = report
    expect(drills.records().at(-1)).toMatchObject({ version: 1, label: shown.label, checks: shown.checks })
  })

  test('recovers to a target, and reports the last commit that was replayed', { timeout: 120_000 }, async () => {
    const sql = drills.sql('select count(*) = 10001 from orders')
    const report = await drills.report('--type=lsn', `--target=${lsn}`, `--sql=${sql}`)
    expect(report).toMatchObject({ code: 0, result: 'passed', type: 'lsn', target: lsn })
    expect(report.lastCommitMs).toBeGreaterThan(Date.now() - 600_000)
  })
})

/** All names in the archive. */
function archived(site: Site): string[] {
  return readdirSync(join(site.repo, 'archive/main'), { recursive: true, encoding: 'latin1' }).sort()
}
