import { mkdirSync, readFileSync, symlinkSync, unlinkSync, writeFileSync, renameSync, readdirSync } from 'node:fs'
import { basename, join } from 'node:path'
import { expect, test } from 'vitest'
import { listDataDirectory } from '../../src/postgres/data-directory.ts'
import { localFiles } from '../../src/postgres/local-files.ts'
import { postgresVersion } from '../../src/postgres/versions.ts'
import { silentLogger } from '../../src/util/log.ts'
import {
  giveToTestUser,
  isInstalled,
  makeTestDir,
  runOk,
  startCluster,
  type Cluster,
} from '../support/postgres/postgres.ts'

/** Sections of a manifest as Map of name to its JSON value; enough for entries without odd names. */
function sections(text: string): Map<string, Map<string, unknown>> {
  const result = new Map<string, Map<string, unknown>>()
  let current = new Map<string, unknown>()
  for (const line of text.split('\n')) {
    const section = /^\[(.+)\]$/.exec(line)?.[1]
    if (section !== undefined) {
      current = new Map()
      result.set(section, current)
    } else if (line !== '') {
      const split = line.indexOf('=')
      current.set(line.slice(0, split), JSON.parse(line.slice(split + 1)))
    }
  }
  return result
}

async function pgbackrest(
  cluster: Cluster,
  repo: string,
  command: string,
  options: Record<string, string>,
): Promise<void> {
  const all = {
    stanza: 'main',
    'repo1-path': repo,
    'log-path': repo,
    'lock-path': repo,
    'log-level-file': 'off',
    'compress-type': 'none',
    'start-fast': 'y',
    'repo1-retention-full': '9',
    ...cluster.pgOptions(),
    ...options,
  }
  const supported =
    command === 'stanza-create'
      ? ['stanza', 'repo1-path', 'log-path', 'lock-path', 'log-level-file', 'online']
      : undefined
  const args = Object.entries(all)
    .filter(([name]) => supported === undefined || supported.includes(name) || name.startsWith('pg1-'))
    .map(([name, value]) => (value === 'n' ? `--no-${name}` : value === 'y' ? `--${name}` : `--${name}=${value}`))
  await runOk('pgbackrest', [...args, command], { deadlineMs: 120_000 })
}

/** The list of pgts in the form of a manifest. */
async function listed(cluster: Cluster, online: boolean, exclude: string[]) {
  const tablespaces = new Map<number, string>()
  if (online)
    for (const row of await cluster.query('select oid, spcname from pg_tablespace'))
      tablespaces.set(row['oid'] as number, row['spcname'] as string)
  const listing = await listDataDirectory(localFiles(), cluster.dataDir, {
    postgres: postgresVersion('15'),
    online,
    exclude,
    tablespaces: online ? tablespaces : undefined,
    log: silentLogger,
  })
  return listing
}

test.skipIf(!isInstalled('pgbackrest')).each([true, false])(
  'pgts lists the same data directory entries as pgbackrest, online: %s',
  async (online) => {
    const repo = makeTestDir('repo')
    const elsewhere = makeTestDir('elsewhere')
    await using cluster = await startCluster({
      version: 15,
      conf: { archive_mode: 'on', archive_command: 'true pgbackrest', autovacuum: 'off' },
    })
    await cluster.stop()
    // A linked pg_wal, a linked directory and a linked file with a relative destination.
    renameSync(join(cluster.dataDir, 'pg_wal'), join(elsewhere, 'wal'))
    symlinkSync(join(elsewhere, 'wal'), join(cluster.dataDir, 'pg_wal'))
    mkdirSync(join(cluster.dataDir, 'extra', 'inner'), { recursive: true })
    writeFileSync(join(cluster.dataDir, 'extra', 'inner', '1234'), 'x')
    writeFileSync(join(cluster.dataDir, 'extra', 'pgsql_tmp_x'), 'x')
    writeFileSync(join(cluster.dataDir, 'extra', 't1_2'), 'x')
    writeFileSync(join(cluster.dataDir, 'recovery.done'), 'x')
    writeFileSync(join(cluster.dataDir, 'backup_label.old'), 'x')
    writeFileSync(join(cluster.dataDir, 'backup_manifest'), 'x')
    writeFileSync(join(cluster.dataDir, 'pg_serial', 'x'), 'x')
    mkdirSync(join(cluster.dataDir, 'log'), { recursive: true })
    writeFileSync(join(cluster.dataDir, 'log', 'x.log'), 'x', { mode: 0o644 })
    writeFileSync(join(elsewhere, 'linked.conf'), 'x', { mode: 0o640 })
    symlinkSync(`../../${basename(elsewhere)}/linked.conf`, join(cluster.dataDir, 'linked.conf'))
    unlinkSync(join(cluster.dataDir, 'postmaster.opts'))
    giveToTestUser(cluster.dataDir)
    giveToTestUser(elsewhere)
    await cluster.start()
    mkdirSync(join(elsewhere, 'space'))
    giveToTestUser(elsewhere)
    await cluster.query(`create tablespace space location '${join(elsewhere, 'space')}'`)
    await cluster.query('create table t tablespace space as select 1 as x; create unlogged table u as select 1 as x')
    await cluster.query('checkpoint')
    const exclude = ['extra/inner', 'log/']
    if (!online) await cluster.stop()
    const options: Record<string, string> = online ? { 'archive-check': 'n' } : { online: 'n', 'checksum-page': 'y' }
    await pgbackrest(cluster, repo, 'stanza-create', online ? {} : { online: 'n' })
    const before = await listed(cluster, online, exclude)
    await runOk('sleep', ['1'])
    await pgbackrest(cluster, repo, 'backup', { ...options, type: 'full', exclude: exclude[0]! })
    const label = readdirSync(join(repo, 'backup', 'main')).find((name) => name.endsWith('F'))!
    const manifest = sections(readFileSync(join(repo, 'backup', 'main', label, 'backup.manifest'), 'utf8'))
    const after = await listed(cluster, online, [exclude[0]!])

    const added = new Set(['pg_data/backup_label', 'pg_data/tablespace_map'])
    const entries = manifest.get('target:file')!
    const theirs = [...entries.keys()].filter((name) => !added.has(name))
    expect([...after.files].map((file) => file.name)).toEqual(theirs)
    expect([...before.files].map((file) => file.name)).toEqual(
      theirs.filter((name) => !name.startsWith('pg_data/log/')),
    )
    const defaults = manifest.get('target:file:default')!
    for (const file of after.files) {
      const entry = entries.get(file.name) as Record<string, unknown>
      const { user = defaults.get('user'), group = defaults.get('group'), mode = defaults.get('mode') } = entry
      expect({ ...file, mode: file.mode.toString(8).padStart(4, '0') }).toMatchObject({ user, group, mode })
      if (!online) expect(file).toMatchObject({ sizeBytes: entry['size'], timestamp: entry['timestamp'] })
      expect([file.name, file.pageChecksumApplies]).toEqual([file.name, 'checksum-page' in entry])
    }
    expect(after.paths.map((path) => path.name)).toEqual([...manifest.get('target:path')!.keys()])
    expect(after.links.map((link) => [link.name, link.destination])).toEqual(
      [...manifest.get('target:link')!].map(([name, entry]) => [name, (entry as { destination: string }).destination]),
    )
    expect(
      after.targets.map(({ name, type, path, file, tablespaceId, tablespaceName }) => [
        name,
        JSON.parse(
          JSON.stringify({ file, path, 'tablespace-id': tablespaceId, 'tablespace-name': tablespaceName, type }),
        ),
      ]),
    ).toEqual([...manifest.get('backup:target')!])
  },
  120_000,
)
