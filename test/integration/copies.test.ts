import { existsSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { textToBytes } from '../../src/util/byte-string.ts'
import { removeTreeSync } from '../../src/util/remove-tree.ts'
import {
  type Cluster,
  giveToTestUser,
  makeTestDir,
  pgtsProgram,
  runAs,
  startCluster,
  testUser,
} from '../support/postgres/postgres.ts'
import { readyOf, untilArchived } from '../support/sites/replica.ts'
import { aSite, type Site } from '../support/sites/site.ts'
import { until } from '../support/until.ts'

let site: Site
beforeAll(async () => {
  site = await aSite({ walSegsizeMb: 1, conf: { max_wal_senders: '4', hot_standby: 'on' } })
  await site.pgtsOk('stanza-create')
  await site.pgtsOk('backup')
  own = readdirSync(hosts())
}, 60_000)
afterAll(() => site?.[Symbol.asyncDispose]())
beforeEach(() => setHosts(own))

/** Host records that the backup left. */
let own: string[]
const hosts = () => join(site.repo, 'pgts/main/hosts')

/** Replaces the host records by these. */
function setHosts(names: readonly string[]): void {
  for (const name of readdirSync(hosts())) rmSync(join(hosts(), name))
  for (const name of names) writeFileSync(join(hosts(), name), '{"version":1,"host":"db1","sinceMs":0}\n')
  giveToTestUser(hosts())
}
const onAnotherHost = () => setHosts([`${'0'.repeat(32)}.json`])

/** A directory that the configuration names, as on a host that is configured like the original. */
interface Place {
  readonly dataDir: string
  readonly config: string
}

function aPlace(): Place {
  const dir = makeTestDir('copy')
  const dataDir = join(dir, 'data')
  const config = join(dir, 'pgbackrest.conf')
  const text = readFileSync(site.config, 'utf8')
    .replaceAll(site.cluster.dataDir, dataDir)
    .replace(/^spool-path=.*$/m, `spool-path=${dir}/spool`)
  return { dataDir, config: writeGiven(config, text) }
}

function writeGiven(path: string, text: string): string {
  writeFileSync(path, text)
  giveToTestUser(join(path, '..'))
  return path
}

const at = ({ config }: Place, ...args: string[]) =>
  runAs(testUser, pgtsProgram(), [`--config=${config}`, '--stanza=main', ...args], { cwd: site.dir })
const restore = async (place: Place, ...args: string[]) => {
  const run = await at(place, '--log-level-console=warn', ...args, 'restore')
  expect(run).toMatchObject({ code: 0 })
  return run.stdout
}
const marked = ({ dataDir }: Place) => existsSync(join(dataDir, 'pgts.copy'))
const pushCommand = ({ config }: Place, more = '') =>
  `PGUSER=postgres '${pgtsProgram()}' --config=${config} --stanza=main ${more} archive-push %p`

function start(place: Place, conf: Record<string, string> = {}): Promise<Cluster> {
  return startCluster({ dir: place.dataDir, conf: { archive_command: pushCommand(place), ...conf } })
}

/** Files of the archive that belong to a timeline after the first. */
function archivedLater(): string[] {
  const id = join(site.repo, 'archive/main/15-1')
  return readdirSync(id, { recursive: true, encoding: 'latin1' }).filter((name) =>
    /(^|\/)0000000[2-9A-F][^/]*$/.test(name),
  )
}

const REFUSED = /\[044\]: this cluster is a copy and cannot archive into stanza main/

describe('a restore marks the cluster as a copy', () => {
  test('on a host that never archived the stanza, unless an option says otherwise', { timeout: 60_000 }, async () => {
    onAnotherHost()
    const place = aPlace()
    const output = await restore(place)
    expect(output).toMatch(
      /WARN: the restored cluster is a copy and cannot archive into stanza main: it was restored on/,
    )
    expect(output).toContain('HINT: if it replaces the original, run: pgts --stanza=main archive-allow')
    expect(marked(place)).toBe(true)
    // A copy that is restored over itself remains a copy; the options remove the mark.
    await restore(place, '--delta', '--archive-mode=off')
    expect(marked(place)).toBe(true)
    expect(await restore(place, '--delta', '--type=standby')).not.toContain('copy')
    expect(marked(place)).toBe(false)
    await restore(place, '--delta', '--archive-mode=preserve')
    expect(marked(place)).toBe(false)
    // In place: the directory has the cluster, and it is not a copy.
    await restore(place, '--delta')
    expect(marked(place)).toBe(false)
  })

  test('in another directory than that of the configuration, also on the same host', async () => {
    const place = aPlace()
    const other = { ...place, dataDir: join(place.dataDir, '..', 'other') }
    expect(await restore(other, `--pg1-path=${other.dataDir}`)).toContain(
      `it was restored to another directory than '${place.dataDir}'`,
    )
    expect(marked(other)).toBe(true)
  })

  test('not in the configured directory of a host that archived the stanza, nor if no host is recorded', async () => {
    const place = aPlace()
    await restore(place)
    expect(marked(place)).toBe(false)
    setHosts([])
    const second = aPlace()
    await restore(second)
    expect(marked(second)).toBe(false)
    // A backup records the host.
    await site.pgtsOk('backup')
    expect(readdirSync(hosts())).toEqual(own)
  })

  test('not under the name pgbackrest', async () => {
    onAnotherHost()
    const place = aPlace()
    const program = join(place.config, '..', 'pgbackrest')
    symlinkSync(pgtsProgram(), program)
    const args = [`--config=${place.config}`, '--stanza=main', '--delta', 'restore']
    expect(await runAs(testUser, program, args)).toMatchObject({ code: 0, stdout: expect.not.stringContaining('copy') })
    expect(marked(place)).toBe(false)
  })
})

describe('a replica that Patroni creates with restore archives after a failover', () => {
  const asStandby = (place: Place) => {
    rmSync(join(place.dataDir, 'recovery.signal'))
    writeGiven(join(place.dataDir, 'standby.signal'), '')
  }
  const conninfo = () => `host=${site.cluster.socketDir} port=${site.cluster.port} user=postgres`

  test('when it fetched WAL with archive-get', { timeout: 60_000 }, async () => {
    onAnotherHost()
    const place = aPlace()
    await restore(place)
    expect(marked(place)).toBe(true)
    asStandby(place)
    await using standby = await start(place)
    await until('the standby to fetch WAL', () => !marked(place), { details: () => standby.log() })
  })

  test('when it only streamed', { timeout: 90_000 }, async () => {
    onAnotherHost()
    const place = aPlace()
    await restore(place)
    asStandby(place)
    // The WAL since the backup must still be on the primary.
    const settings = { primary_conninfo: conninfo(), restore_command: 'false' }
    await using standby = await start(place, settings)
    await until('streaming', async () => {
      const [row] = await standby.query('select count(*)::int as n from pg_stat_wal_receiver')
      return row?.['n'] === 1
    })
    expect(marked(place)).toBe(true)
    await standby.query('select pg_promote()')
    await standby.untilPrimary()
    await until('the first push', () => !marked(place), { details: () => standby.log() })
    expect(standby.log()).not.toMatch(REFUSED)
  })
})

test.each([
  ['in the foreground', ''],
  ['in the background', '--archive-async'],
])(
  'a copy does not archive into production %s until archive-allow, and loses no WAL',
  { timeout: 120_000 },
  async (_, option) => {
    onAnotherHost()
    const place = aPlace()
    await restore(place)
    const before = archivedLater()
    await using copy = await start(place, { archive_command: pushCommand(place, option) })
    await copy.untilPrimary()
    await copy.query('create table if not exists t as select 1 as i')
    const [{ segment }] = (await copy.query('select pg_walfile_name(pg_switch_wal()) as segment')) as [
      { segment: string },
    ]
    await until('the refusal', () => REFUSED.test(copy.log()))
    expect(copy.log()).toContain(
      'HINT: if it replaces the original, run on this host: pgts --stanza=main archive-allow',
    )
    expect(archivedLater()).toEqual(before)
    expect(readyOf(copy)).toContain(segment)

    const where = [`--pg1-socket-path=${copy.socketDir}`, `--pg1-port=${copy.port}`]
    for (const command of ['backup', 'check'])
      expect(await at(place, ...where, command)).toMatchObject({ code: 44, stdout: expect.stringMatching(REFUSED) })

    expect(await at(place, '--log-level-console=info', 'archive-allow')).toMatchObject({
      code: 0,
      stdout: expect.stringContaining(`the cluster in ${place.dataDir} may archive into stanza main`),
    })
    expect(marked(place)).toBe(false)
    await copy.query('select pg_reload_conf()')
    await untilArchived(copy)
    expect(archivedLater().some((name) => name.includes(segment))).toBe(true)
    expect(readdirSync(hosts())).toEqual(expect.arrayContaining(own))
    expect((await at(place, '--log-level-console=info', 'archive-allow')).stdout).toContain('not marked as a copy')
    const spool = join(place.config, '..', 'spool')
    // The background process may still write there.
    removeTreeSync(textToBytes(spool))
  },
)

test('a copy archives into a repository of its own', { timeout: 60_000 }, async () => {
  onAnotherHost()
  const place = aPlace()
  await restore(place)
  const repo = join(place.config, '..', 'repo')
  await using copy = await start(place)
  await copy.untilPrimary()
  const text = readFileSync(place.config, 'utf8').replace(/^repo1-path=.*$/m, `repo1-path=${repo}`)
  writeGiven(place.config, text)
  const where = [`--pg1-socket-path=${copy.socketDir}`, `--pg1-port=${copy.port}`]
  expect(await at(place, ...where, 'stanza-create')).toMatchObject({ code: 0 })
  await copy.query('select pg_reload_conf()')
  expect(await at(place, ...where, 'backup')).toMatchObject({ code: 0 })
  // The mark is not in the backup.
  const [label] = readdirSync(join(repo, 'backup/main')).filter((name) => /^\d{8}-/.test(name))
  expect(readFileSync(join(repo, 'backup/main', label!, 'backup.manifest'), 'latin1')).not.toContain('pgts.copy')
})
