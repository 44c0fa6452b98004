import { existsSync, readdirSync, readFileSync, rmSync, symlinkSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { pgtsProgram, runAs, testUser, type Cluster } from '../support/postgres/postgres.ts'
import { aSite, type Site } from '../support/sites/site.ts'
import { until } from '../support/until.ts'

const SMALL = { walSegsizeMb: 1, conf: { min_wal_size: '2MB', max_wal_size: '64MB', track_commit_timestamp: 'on' } }

/** A commit, as the server records its time, and the segment that contains it, which is archived. */
async function commit(cluster: Cluster, number: number): Promise<{ at: string; segment: string }> {
  await cluster.query(`insert into t values (${number})`)
  const [row] = await cluster.query(
    `select to_char(pg_xact_commit_timestamp(xmin) at time zone 'UTC', 'YYYY-MM-DD HH24:MI:SS.US') || '+00' as at,
       pg_walfile_name(pg_current_wal_lsn()) as segment from t where i = ${number}`,
  )
  await cluster.query('select pg_switch_wal()')
  return row as { at: string; segment: string }
}

async function archived(site: Site, segment: string): Promise<void> {
  const status = join(site.cluster.dataDir, 'pg_wal/archive_status', `${segment}.done`)
  await until(`${segment} is archived`, () => existsSync(status))
}

interface Window {
  readonly from: string
  readonly to: string | null
  readonly gap: readonly { from: string; to: string | null; missing: number; segment: unknown }[]
  readonly timeline: number
  readonly unscanned: number
}

async function windowOf(site: Site): Promise<Window | undefined> {
  const { stdout } = await site.pgtsOk('info', '--output=json')
  return (JSON.parse(stdout) as { archive: { window?: Window }[] }[])[0]!.archive[0]!.window
}

const ARCHIVE = 'archive/main'

const CASES: readonly { how: string; options: Record<string, string> }[] = [
  { how: 'synchronously', options: {} },
  { how: 'in the background, encrypted', options: { 'archive-async': 'y', 'repo1-cipher-type': 'aes-256-cbc' } },
]

test.each(CASES)(
  'info shows the window of WAL that was pushed $how, with a gap where a segment is missing',
  { timeout: 120_000 },
  async ({ options }) => {
    const isEncrypted = 'repo1-cipher-type' in options
    await using site = await aSite({
      ...SMALL,
      options: { ...options, ...(isEncrypted ? { 'repo1-cipher-pass': 'secret' } : {}) },
    })
    const { cluster } = site
    await cluster.query('create table t (i int)')
    await site.pgtsOk('stanza-create')
    await site.pgtsOk('backup')
    // Times of backups are whole seconds.
    await sleep(1100)
    const commits = []
    for (let i = 0; i < 4; i++) commits.push(await commit(cluster, i))
    const last = commits.at(-1)!
    await archived(site, last.segment)
    await until('the times are recorded', async () => {
      const window = await windowOf(site)
      return window?.to === last.at && window.unscanned === 0
    })
    expect(await windowOf(site)).toMatchObject({ gap: [], timeline: 1, unscanned: 0 })

    const [id] = readdirSync(join(site.repo, ARCHIVE)).filter((name) => /^\d+-1$/.test(name))
    const times = join(site.repo, 'pgts/main/wal-times', id!)
    const [file] = readdirSync(times)
    const stored = readFileSync(join(times, file!))
    expect(stored.subarray(0, 8).toString('latin1') === 'Salted__').toBe(isEncrypted)

    // Nothing of it is visible under the other name.
    const other = join(dirname(site.config), 'pgbackrest')
    symlinkSync(pgtsProgram(), other)
    const asOther = await runAs(testUser, other, [`--config=${site.config}`, 'info', '--output=json'], {
      cwd: site.dir,
    })
    expect(asOther.stdout).not.toContain('"window"')

    // A segment that disappears from the archive.
    const missing = commits[1]!.segment
    const directory = join(site.repo, ARCHIVE, id!, missing.slice(0, 16))
    for (const name of readdirSync(directory)) if (name.startsWith(missing)) rmSync(join(directory, name))
    const cut = await windowOf(site)
    expect(cut).toMatchObject({
      to: commits[0]!.at,
      gap: [{ from: commits[0]!.at, to: last.at, missing: 1, segment: { first: missing, last: missing } }],
    })
    const { stdout } = await site.pgtsOk('info')
    expect(stdout).toMatch(/recovery window \(timeline 1\):\n {12}\d{4}-.* to \d{4}-.*\n {12}\|=*\.+\|\n/)
    const shown = stdout.slice(stdout.indexOf('recovery window'), stdout.indexOf('full backup'))
    for (const line of shown.split('\n')) expect(line.length).toBeLessThanOrEqual(80)

    // A lost record is no error: the segments are present, and their times are not known.
    rmSync(join(site.repo, 'pgts/main/wal-times'), { recursive: true })
    expect(await windowOf(site)).toBeUndefined()
  },
)
