import { chmodSync, mkdirSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, test } from 'vitest'
import { giveToTestUser, pgtsProgram, testUser } from '../support/postgres/postgres.ts'
import { aSite, type Site } from '../support/sites/site.ts'

async function until(what: string, isSo: () => boolean | Promise<boolean>): Promise<void> {
  const deadline = Date.now() + 60_000
  while (!(await isSo())) {
    if (Date.now() > deadline) throw new Error(`timeout while waiting for ${what}`)
    await sleep(50)
  }
}

async function reconfigure(site: Site, name: string, value: string): Promise<void> {
  await site.cluster.query(`alter system set ${name} = '${value.replaceAll("'", "''")}'`)
  await site.cluster.query('select pg_reload_conf()')
  await until(`${name} to change`, async () => (await site.cluster.query(`show ${name}`))[0]?.[name] === value)
}

/** As one line, because a finding may be wrapped anywhere. */
const plain = (text: string) => text.replace(/\s+/g, ' ')

async function failingCheck(site: Site): Promise<string> {
  const result = await site.pgts(['--archive-timeout=2s', 'check'])
  expect(result.code).toBe(82)
  return plain(result.stdout + result.stderr)
}

type Status = Record<string, unknown> & { findings: { layer: string; text: string }[] }

async function status(site: Site): Promise<Status> {
  const result = await site.pgts(['--output=json', 'archive-status'])
  expect(result.code).toBe(0)
  return JSON.parse(result.stdout) as Status
}

const hasFailed = (site: Site) => async () =>
  (await site.cluster.query(`select 1 from pg_stat_archiver where failed_count > 0`)).length > 0

describe('check names the layer with the fault', () => {
  test('archive_command: it fails, cannot be started, has another stanza or file, or another repository', async () => {
    await using site = await aSite({ walSegsizeMb: 1, conf: { archive_command: 'false # pgts' } })
    await site.pgtsOk('stanza-create')
    const right = `'${(await ownCommand(site)).join(' ')}'`
    await site.cluster.query('select pg_switch_wal()')
    await until('a failure', hasFailed(site))
    const failed = await failingCheck(site)
    expect(failed).toMatch(/archive_command failed last for [0-9A-F]{24} at 20\d\d-.*[1-9]\d* failures/)
    expect(failed).toMatch(/cd \/.*\/data && false # pgts/)
    expect(failed).toMatch(/2 files \(2MB\) wait, and PostgreSQL archives them in order: [0-9A-F]{24} is first/)

    await reconfigure(site, 'archive_command', '/nowhere/pgts --stanza=main archive-push %p')
    expect(await failingCheck(site)).toContain(
      'archive_command starts /nowhere/pgts, which does not exist on this host',
    )
    await reconfigure(site, 'archive_command', `pgts --config=/nowhere.conf --stanza=other archive-push %p`)
    const named = await failingCheck(site)
    expect(named).toContain('names stanza other, and this is main')
    expect(named).toContain('names /nowhere.conf, which does not exist')
    expect(named).toMatch(
      /archive_command starts pgts, which is in no directory of the server's PATH \(\/.*\): write its/,
    )
    await reconfigure(site, 'archive_command', `PATH=/nowhere ${pgtsProgram()} --stanza=main archive-push %p`)
    expect(await failingCheck(site)).toContain(
      "and node is in no directory of the server's PATH (/nowhere): write PGTS_NODE=/path/to/node in front of it",
    )
    expect((await status(site)).findings[0]).toMatchObject({ layer: 'archive_command' })
    await reconfigure(site, 'archive_command', 'true # pgts')
    // An archiver whose command could not be started ends, and the next one is started at a connection, at most
    // every ten seconds; check connects.
    let elsewhere = ''
    await until('the server to archive again', async () => {
      elsewhere = await failingCheck(site)
      return !elsewhere.includes('archive_command failed last')
    })
    expect(elsewhere).toMatch(/PostgreSQL has regarded [0-9A-F]{24} as archived since .* stored it elsewhere/)
    expect(right).toContain('archive-push')
  }, 120_000)

  test('archive_command: it does not end', async () => {
    await using site = await aSite({ walSegsizeMb: 1, conf: { archive_command: 'sleep 600 # pgts' } })
    await site.pgtsOk('stanza-create')
    expect(await failingCheck(site)).toMatch(
      /pg_stat_archiver shows no failure, so archive_command is running.* exit codes 126 and 127/,
    )
  })

  test('a stop file, a repository that cannot be written', async () => {
    await using site = await aSite({ walSegsizeMb: 1 })
    await site.pgtsOk('stanza-create')
    const stop = join(site.dir, 'lock', 'main.stop')
    writeFileSync(stop, '')
    const stopped = await failingCheck(site)
    expect(stopped).toContain(`an operator has stopped archiving: ${stop} exists`)
    expect(stopped).toContain("run 'pgts --stanza=main start'")
    expect((await status(site)).findings.map(({ layer }) => layer)).toContain('stopped')
    rmSync(stop)
    await site.pgtsOk('check')

    const [id] = readdirSync(join(site.repo, 'archive/main')).filter((name) => /^15-/.test(name))
    const segments = join(site.repo, 'archive/main', id ?? '', '0000000100000000')
    const mode = statSync(segments).mode
    chmodSync(segments, 0o500)
    try {
      expect(await failingCheck(site)).toMatch(/this process cannot write there either: \[\d+\] .*/)
    } finally {
      chmodSync(segments, mode)
    }
  })

  test('the background process, and a dropped queue', async () => {
    await using site = await aSite({
      walSegsizeMb: 1,
      conf: { archive_command: 'false # pgts' },
      options: { 'archive-async': 'y', 'archive-push-queue-max': '3MB' },
    })
    await site.pgtsOk('stanza-create')
    const right = await ownCommand(site)
    rmSync(join(site.repo, 'archive/main/archive.info'))
    rmSync(join(site.repo, 'archive/main/archive.info.copy'))
    await reconfigure(
      site,
      'archive_command',
      [...right.slice(0, -2), '--archive-timeout=1s', ...right.slice(-2)].join(' '),
    )
    await site.cluster.query('select pg_switch_wal()')
    let broken = await status(site)
    // The next call of archive_command removes the error.
    await until('an error in the spool', async () => {
      broken = await status(site)
      const { spool } = broken as unknown as { spool?: { errors: unknown[] } }
      return (spool?.errors.length ?? 0) > 0
    })
    expect(broken['state']).toBe('trouble')
    expect(JSON.stringify(broken.findings)).toMatch(/archive.info/)
    const shown = (await site.pgts(['archive-status'])).stdout
    expect(Math.max(...shown.split('\n').map((line) => line.length))).toBeLessThanOrEqual(120)
    expect(shown).toMatch(/archiving: trouble/)
    expect(shown).toMatch(/queue: +\d+ file/)

    // The operator prefers a gap to a full disk.
    for (let i = 0; i < 4; i++) await site.cluster.query('select txid_current(); select pg_switch_wal()')
    const layers = async () => (await status(site)).findings.map(({ layer }) => layer)
    await until('the drop', async () => (await layers()).includes('dropped'))
    expect(JSON.stringify((await status(site)).findings)).toMatch(
      /archive-push-queue-max dropped \d+ WAL file.*take a new backup/,
    )
    await reconfigure(site, 'archive_command', 'false # pgts')
    await site.cluster.query('select txid_current(); select pg_switch_wal()')
    await site.cluster.stop()

    const down = await status(site)
    expect(down).toMatchObject({ server: { reachable: false }, lag: { of: 'files' } })
    expect(down['queue']).toMatchObject({ first: expect.stringMatching(/^[0-9A-F]{24}$/) as string })
  }, 90_000)
})

describe('archive-status', () => {
  test('reports working archiving as text and JSON, with and without a server', async () => {
    await using site = await aSite({ walSegsizeMb: 1, conf: { wal_keep_size: '64MB' } })
    await site.pgtsOk('stanza-create')
    await site.pgtsOk('check')
    // The segment is in the archive before archive_command ends.
    const isArchived = `select 1 from pg_stat_archiver where archived_count > 0`
    await until('PostgreSQL to know', async () => (await site.cluster.query(isArchived)).length > 0)
    const well = await status(site)
    expect(well).toMatchObject({
      stanza: 'main',
      state: 'ok',
      server: { reachable: true, role: 'primary', archiveMode: 'on' },
      queue: { files: 0, bytes: 0 },
      lag: { seconds: 0, of: 'server' },
      lastSuccess: { file: expect.stringMatching(/^[0-9A-F]{24}$/) as string },
      findings: [],
    })
    const text = (await site.pgtsOk('archive-status')).stdout
    expect(text).toMatch(/^stanza: main\n {4}archiving: ok\n/)
    expect(text).toMatch(/queue: +empty/)
    await site.cluster.stop()
    const down = await status(site)
    expect(down).toMatchObject({ state: 'ok', server: { reachable: false }, lag: { bytes: 0, of: 'files' } })
    expect(down['lastSuccess']).toMatchObject({ file: expect.stringMatching(/^[0-9A-F]{24}$/) as string })
  })

  test('reports archive_mode off, and fails only if it cannot read pg_wal', async () => {
    await using site = await aSite({ conf: { archive_mode: 'off' } })
    const off = await status(site)
    expect(off).toMatchObject({ state: 'trouble', findings: [{ layer: 'archive_mode' }] })
    const nowhere = join(site.dir, 'nowhere')
    mkdirSync(nowhere)
    giveToTestUser(nowhere)
    const lost = await site.pgts([`--pg1-path=${nowhere}`, 'archive-status'])
    expect(lost.code).not.toBe(0)
    expect(lost.stdout + lost.stderr).toContain('pg_wal does not exist')
    expect(testUser.uid).toBeGreaterThan(0)
  })
})

/** The working archive_command, as arguments. */
async function ownCommand(site: Site): Promise<string[]> {
  const { pgtsProgram } = await import('../support/postgres/postgres.ts')
  return [`'${pgtsProgram()}'`, `--config=${site.config}`, '--stanza=main', 'archive-push', '%p']
}
