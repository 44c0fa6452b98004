import { cpSync, mkdirSync, readFileSync, statSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { systemClock } from '../../src/util/clock.ts'
import { forwarding } from '../../src/storage/wrappers.ts'
import type { StorageDriver } from '../../src/storage/driver.ts'
import { giveToTestUser, makeTestDir, startCluster } from '../support/postgres/postgres.ts'
import { runInProcess } from '../support/processes/in-process.ts'

// pgbackrest 2.46 to 2.59.1 stored such a file with an empty block map, which no program can read.
test('a file that is truncated to zero between listing and copy, with repo-block=y, is restored empty', async () => {
  const cluster = await startCluster({ start: false })
  const dir = makeTestDir('truncated')
  const pgPath = join(dir, 'data')
  cpSync(cluster.dataDir, pgPath, { recursive: true, filter: (source) => !/\/pg_wal\/0|\/base\/[^1]/.test(source) })
  for (const name of ['repo', 'lock', 'spool', 'log']) mkdirSync(join(dir, name))
  const lines = ['[global]', `repo1-path=${dir}/repo`, 'repo1-bundle=y', 'repo1-block=y', 'repo1-retention-full=2']
  lines.push(`lock-path=${dir}/lock`, `log-path=${dir}/log`, `spool-path=${dir}/spool`, '[main]', `pg1-path=${pgPath}`)
  writeFileSync(join(dir, 'pgbackrest.conf'), `${lines.join('\n')}\n`)
  giveToTestUser(dir)
  const run = (args: readonly string[], wrap?: (storage: StorageDriver) => StorageDriver) =>
    runInProcess(
      [`--config=${dir}/pgbackrest.conf`, '--stanza=main', ...args],
      join(dir, 'repo'),
      wrap,
      {},
      { clock: systemClock },
    )
  // Stored in blocks; larger than the bundle limit in the first backup, and with a prior block map in the second.
  const relation = join(pgPath, 'base/1/1255')
  const content = readFileSync(relation)
  expect(content.length).toBeGreaterThan(128 * 1024)

  /** The partial manifest is written after the listing and before the first copy. */
  const truncating = (storage: StorageDriver) =>
    forwarding(storage, {
      create(name, options) {
        if (name.endsWith('/backup.manifest.copy')) truncateSync(relation, 0)
        return storage.create(name, options)
      },
    })
  await run(['--no-online', 'stanza-create'])
  for (const type of ['full', 'diff'] as const) {
    await run(['--no-online', `--type=${type}`, 'backup'], truncating)
    expect(statSync(relation).size).toBe(0)
    const target = join(dir, `restored-${type}`)
    await run([`--pg1-path=${target}`, '--type=none', 'restore'])
    expect(statSync(join(target, 'base/1/1255')).size).toBe(0)
    expect(statSync(join(target, 'base/1/1249')).size).toBeGreaterThan(0)
    const { outcome } = await run(['--output=json', 'verify'])
    expect(outcome.exitCode ?? 0).toBe(0)
    if (type === 'diff') return
    // A full with the content, and a change after it: the diff finds a block map.
    writeFileSync(relation, content)
    await run(['--no-online', '--type=full', 'backup'])
    writeFileSync(relation, content.subarray(8192))
  }
}, 60_000)
