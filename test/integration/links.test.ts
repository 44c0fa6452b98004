import {
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { countCells } from '../support/run/cells.ts'
import { type Program, restoreElsewhere } from '../support/sites/elsewhere.ts'
import {
  type Cluster,
  dataChecksum,
  giveToTestUser,
  isInstalled,
  makeTestDir,
  startCluster,
} from '../support/postgres/postgres.ts'
import { aSite, PGBACKREST, type Site } from '../support/sites/site.ts'

const present = isInstalled(PGBACKREST)
const cell = countCells('links, offline and archive-copy', 12)

/** pg_wal, pg_xact and a directory of the user are linked, absolutely and relatively; also postgresql.conf. */
const LINKS = ['pg_wal', 'pg_xact', 'postgresql.conf', 'extra'] as const

/** Replace entries of the data directory by links; the server must be stopped. */
function linkAway(site: Site): string {
  const { dataDir } = site.cluster
  const outside = join(site.dir, 'outside')
  mkdirSync(outside, { mode: 0o700 })
  mkdirSync(join(dataDir, 'extra'), { mode: 0o700 })
  writeFileSync(join(dataDir, 'extra', 'notes.txt'), 'of the user')
  for (const name of LINKS) renameSync(join(dataDir, name), join(outside, name))
  symlinkSync(join(outside, 'pg_wal'), join(dataDir, 'pg_wal'))
  symlinkSync(join(outside, 'postgresql.conf'), join(dataDir, 'postgresql.conf'))
  // Relative: from one temporary directory to the other.
  const up = dataDir
    .split('/')
    .slice(1)
    .map(() => '..')
    .join('/')
  symlinkSync(`${up}${outside}/pg_xact`, join(dataDir, 'pg_xact'))
  symlinkSync(`${up}${outside}/extra`, join(dataDir, 'extra'))
  for (const dir of [outside, dataDir]) giveToTestUser(dir)
  return outside
}

async function startedCopy(dir: string, version: Cluster['version'] = 15): Promise<Cluster> {
  const copy = await startCluster({ version, dir: join(dir, 'data'), conf: { archive_mode: 'off' } })
  await copy.untilPrimary()
  return copy
}

const lastLabel = (site: Site) =>
  readdirSync(join(site.repo, 'backup/main'))
    .filter((name) => /^\d{8}-\d{6}F$/.test(name))
    .sort()
    .at(-1)!

function sectionOf(site: Site, label: string, section: string): string[] {
  const text = readFileSync(join(site.repo, 'backup/main', label, 'backup.manifest'), 'utf8')
  return (text.split(`[${section}]\n`)[1] ?? '').split('\n\n')[0]!.split('\n')
}

const writers: readonly Program[] = present ? ['pgts', 'pgbackrest'] : ['pgts']

test.each(writers)(
  'links in a backup of %s are restored by both programs',
  async (writer) => {
    await using site = await aSite({ archiver: writer, options: { 'compress-type': 'zst' } })
    const { cluster } = site
    await cluster.stop()
    const outside = linkAway(site)
    await cluster.start()
    await cluster.query('create table t as select i, md5(i::text) as v from generate_series(1, 1000) i')
    const run = (who: Program, ...args: string[]) =>
      who === 'pgts' ? site.pgtsOk(...args) : site.pgbackrestOk(...args)
    await run(writer, 'stanza-create')
    await run(writer, '--type=full', 'backup')
    const label = lastLabel(site)
    expect(sectionOf(site, label, 'target:link').map((line) => line.split('=')[0])).toEqual(
      [...LINKS].sort().map((name) => `pg_data/${name}`),
    )
    await cluster.query(`insert into t values (0, 'late')`)
    await cluster.query('select pg_switch_wal()')
    const expected = await dataChecksum(cluster)
    await cluster.stop()

    // Without options links become plain entries, and their destinations do not change.
    writeFileSync(join(outside, 'extra', 'notes.txt'), 'changed since')
    const plain = await restoreElsewhere(site)
    for (const name of LINKS) expect(lstatSync(join(plain, 'data', name)).isSymbolicLink(), name).toBe(false)
    expect(readFileSync(join(plain, 'data', 'extra', 'notes.txt'), 'utf8')).toBe('of the user')
    expect(readFileSync(join(outside, 'extra', 'notes.txt'), 'utf8')).toBe('changed since')
    {
      await using copy = await startedCopy(plain)
      expect(await dataChecksum(copy)).toEqual(expected)
    }

    // link-map moves links, and makes links of plain entries.
    const elsewhere = makeTestDir('elsewhere')
    const mapped = await restoreElsewhere(site, [
      `--link-map=pg_wal=${elsewhere}/wal`,
      `--link-map=postgresql.conf=${elsewhere}/etc/main.conf`,
      `--link-map=pg_hba.conf=${elsewhere}/etc/pg_hba.conf`,
    ])
    expect(readlinkSync(join(mapped, 'data', 'pg_wal'))).toBe(`${elsewhere}/wal`)
    expect(readdirSync(join(elsewhere, 'etc'))).toEqual(['main.conf', 'pg_hba.conf'])
    expect(lstatSync(join(mapped, 'data', 'pg_xact')).isDirectory()).toBe(true)
    {
      await using copy = await startedCopy(mapped)
      expect(await dataChecksum(copy)).toEqual(expected)
    }

    // In place with link-all, by both programs: links stay links, and their destinations are restored.
    for (const who of present ? (['pgts', 'pgbackrest'] as const) : (['pgts'] as const)) {
      const destinations = LINKS.map((name) => readlinkSync(join(cluster.dataDir, name)))
      rmSync(join(outside, 'pg_xact', '0000'))
      writeFileSync(join(outside, 'extra', 'not of the backup'), 'x')
      rmSync(join(cluster.dataDir, 'extra'))
      await run(who, '--delta', '--link-all', 'restore')
      expect(LINKS.map((name) => readlinkSync(join(cluster.dataDir, name)))).toEqual(destinations)
      expect(readdirSync(join(outside, 'extra'))).toEqual(['notes.txt'])
      await cluster.start()
      await cluster.untilPrimary()
      expect(await dataChecksum(cluster)).toEqual(expected)
      await cluster.stop()
      if (present) cell(`${writer} writes links, ${who} restores them with link-all`)
    }
    if (writer === 'pgbackrest') {
      // The same cluster, backed up by both programs.
      await cluster.start()
      await site.pgtsOk('--type=full', 'backup')
      for (const section of ['backup:target', 'target:link', 'target:link:default'])
        expect(sectionOf(site, lastLabel(site), section), section).toEqual(sectionOf(site, label, section))
      await cluster.stop()
      cell('both list the same links')
    }
  },
  240_000,
)

test('excluded paths are not in the backup, and annotations are stored', async () => {
  await using site = await aSite()
  const { dataDir } = site.cluster
  for (const name of ['cache', 'gone']) {
    mkdirSync(join(dataDir, name))
    writeFileSync(join(dataDir, name, 'x'), 'x')
  }
  writeFileSync(join(dataDir, 'core.123'), 'x')
  giveToTestUser(dataDir)
  await site.pgtsOk('stanza-create')
  const { stdout } = await site.pgtsOk(
    '--type=full',
    '--exclude=cache/',
    '--exclude=gone',
    '--exclude=core.123',
    '--annotation=why=before "the" upgrade',
    '--annotation=größe=ü',
    '--annotation=empty=',
    '--log-level-console=info',
    'backup',
  )
  for (const words of [`exclude contents of '${dataDir}/cache'`, `'${dataDir}/gone'`, `'${dataDir}/core.123'`])
    expect(stdout).toContain(words)
  const label = lastLabel(site)
  const annotation = '{"größe":"ü","why":"before \\"the\\" upgrade"}'
  expect(sectionOf(site, label, 'metadata')).toEqual([`annotation=${annotation}`])
  expect(readFileSync(join(site.repo, 'backup/main/backup.info'), 'utf8')).toContain(
    `"backup-annotation":${annotation}`,
  )
  const shown = (await site.pgtsOk(`--set=${label}`, 'info')).stdout
  expect(shown).toMatch(/annotation\(s\)\n\s+größe: ü\n\s+why: before "the" upgrade\n/)
  const json = JSON.parse((await site.pgtsOk('--output=json', 'info')).stdout) as [
    { backup: { annotation: unknown }[] },
  ]
  expect(json[0].backup[0]!.annotation).toEqual({ größe: 'ü', why: 'before "the" upgrade' })
  if (present) {
    const theirs = await site.pgbackrestOk(`--set=${label}`, 'info')
    expect(theirs.stdout).toMatch(/annotation\(s\)\n\s+größe: ü\n\s+why: before "the" upgrade\n/)
    await site.verifiedByPgbackrest()
    cell('pgbackrest shows annotations')
  }
  const restored = join(await restoreElsewhere(site), 'data')
  expect(readdirSync(join(restored, 'cache'))).toEqual([])
  expect(existsSync(join(restored, 'gone'))).toBe(false)
  expect(existsSync(join(restored, 'core.123'))).toBe(false)
}, 120_000)

test('a backup of unsupported links is refused and leaves no backup', async () => {
  await using site = await aSite()
  const { cluster } = site
  const { dataDir } = cluster
  const outside = makeTestDir('outside')
  mkdirSync(join(outside, 'ts'), { mode: 0o700 })
  giveToTestUser(outside)
  await cluster.query(`create tablespace ts location '${outside}/ts'`)
  await cluster.stop()
  await site.pgtsOk('--no-online', 'stanza-create')
  const [oid] = readdirSync(join(dataDir, 'pg_tblspc'))
  const tablespace = join(dataDir, 'pg_tblspc', oid!)
  symlinkSync(join(outside, 'ts'), join(outside, 'chain'))

  /** @param make creates the faulty entry; returns the path to remove */
  const refused = async (code: number, words: RegExp, make: () => string): Promise<void> => {
    const path = make()
    giveToTestUser(path)
    const { stdout, ...result } = await site.pgts(['--no-online', '--type=full', 'backup'])
    expect(stdout).toMatch(words)
    expect(stdout).toContain('HINT:')
    expect(result.code).toBe(code)
    if (present) expect((await site.pgbackrest(['--no-online', '--type=full', 'backup'])).code).toBe(code)
    rmSync(path, { recursive: true })
  }
  const linked = (destination: string, path: string): (() => string) => {
    return () => {
      symlinkSync(destination, path)
      return path
    }
  }
  await refused(70, /points to another link/, linked(join(outside, 'chain'), join(dataDir, 'two')))
  await refused(70, /in the data directory/, linked(join(dataDir, 'base'), join(dataDir, 'inside')))
  await refused(70, /same directory as/, linked(join(outside, 'ts'), join(dataDir, 'twice')))
  await refused(41, /does not exist/, linked(join(outside, 'nothing'), join(dataDir, 'dangling')))
  await refused(69, /not a link/, () => {
    mkdirSync(join(dataDir, 'pg_tblspc', '99999'))
    return join(dataDir, 'pg_tblspc', '99999')
  })
  rmSync(tablespace)
  await refused(70, /pg_tblspc.* points to another link/, linked(join(outside, 'chain'), tablespace))
  expect(existsSync(join(site.repo, 'backup/main/latest'))).toBe(false)

  // With the original link nothing of this is left.
  linked(join(outside, 'ts'), tablespace)()
  await site.pgtsOk('--no-online', '--type=full', 'backup')
}, 120_000)

describe('archive-copy', () => {
  test.each([10, 16] as const)(
    'restores PostgreSQL %i from the backup alone',
    async (version) => {
      await using site = await aSite({ version, options: { 'compress-type': 'gz' } })
      const { cluster } = site
      await cluster.query('create table t as select i, md5(i::text) as v from generate_series(1, 1000) i')
      await site.pgtsOk('stanza-create')
      // The archive is compressed with gz, the backup with its own codec.
      await site.pgtsOk('--type=full', '--archive-copy', '--compress-type=lz4', 'backup')
      const wal = readdirSync(join(site.repo, 'backup/main', lastLabel(site), 'pg_data/pg_wal'))
      expect(wal.filter((name) => /^[0-9A-F]{24}\.lz4$/.test(name)).length).toBeGreaterThan(0)
      const expected = await dataChecksum(cluster)
      if (present && version < 16) {
        await site.verifiedByPgbackrest()
        cell(`${version}: verify of archive-copy`)
      }
      await cluster.stop()
      rmSync(join(site.repo, 'archive', 'main', `${version}-1`), { recursive: true })

      const types = [['--type=none'], ['--type=immediate', '--target-action=promote']]
      for (const type of types) {
        await using copy = await startedCopy(await restoreElsewhere(site, type), version)
        expect(await dataChecksum(copy)).toEqual(expected)
      }
      if (present && version < 16) {
        await using copy = await startedCopy(
          await restoreElsewhere(site, ['--type=none'], { who: 'pgbackrest' }),
          version,
        )
        expect(await dataChecksum(copy)).toEqual(expected)
        cell(`${version}: pgbackrest restores an archive-copy`)
      }
    },
    120_000,
  )
})

test('a cluster with archive_mode=always is backed up with --no-archive-mode-check', async () => {
  await using site = await aSite({ conf: { archive_mode: 'always' } })
  await site.pgtsOk('stanza-create')
  const refused = await site.pgts(['--type=full', 'backup'])
  expect(refused.code).toBe(67)
  expect(refused.stdout).toMatch(/archive_mode is always.*HINT: .*--no-archive-mode-check/s)
  await site.pgtsOk('--no-archive-mode-check', 'check')
  // stop-auto had an effect before 9.6: an old configuration with it causes no warning.
  const { stdout, stderr } = await site.pgtsOk('--no-archive-mode-check', '--stop-auto', '--type=full', 'backup')
  expect(stdout + stderr).toBe('')
  await using copy = await startedCopy(await restoreElsewhere(site))
  expect(await dataChecksum(copy)).toEqual(await dataChecksum(site.cluster))
}, 120_000)

describe('--no-online', () => {
  test.each([11, 15, 18] as const)(
    'PostgreSQL %i: stanza-create, backup and restore with a stopped server',
    async (version) => {
      await using site = await aSite({ version, options: { 'compress-type': 'zst' } })
      const { cluster } = site
      const tablespace = join(site.dir, 'ts')
      mkdirSync(tablespace, { mode: 0o700 })
      giveToTestUser(tablespace)
      await cluster.query(`create tablespace ts location '${tablespace}'`)
      await cluster.query('create table t tablespace ts as select i, md5(i::text) as v from generate_series(1, 1000) i')
      const expected = await dataChecksum(cluster)
      await site.pgtsOk('--no-online', 'stanza-create')
      const running = await site.pgts(['--no-online', '--type=full', 'backup'])
      expect(running.code).toBe(38)
      expect(running.stdout).toMatch(/postmaster\.pid exists.*HINT: stop the server/s)
      await cluster.stop()
      await site.pgtsOk('--no-online', '--type=full', 'backup')
      const [oid] = readdirSync(join(cluster.dataDir, 'pg_tblspc'))
      for (const who of present && version < 16 ? (['pgts', 'pgbackrest'] as const) : (['pgts'] as const)) {
        // Without the server the name of the tablespace is not known.
        const dir = await restoreElsewhere(site, [], { who, tablespaces: [`ts${oid}`] })
        for (const name of ['recovery.conf', 'recovery.signal', 'backup_label'])
          expect(existsSync(join(dir, 'data', name)), name).toBe(false)
        await using copy = await startedCopy(dir, version)
        expect(await dataChecksum(copy)).toEqual(expected)
        if (present && version < 16) cell(`${version}: offline backup restored by ${who}`)
      }
      // Restore in place, and start it.
      rmSync(join(cluster.dataDir, 'base', '1'), { recursive: true })
      await site.pgtsOk('--delta', 'restore')
      await cluster.start()
      expect(await dataChecksum(cluster)).toEqual(expected)
      if (version === 18) {
        const forced = await site.pgts(['--no-online', '--force', '--type=full', 'backup'])
        expect(forced.stdout).toContain('WARN: postmaster.pid exists')
      }
    },
    120_000,
  )
})
