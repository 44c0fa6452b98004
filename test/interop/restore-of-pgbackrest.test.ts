import { chmodSync, existsSync, mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { restore } from '../../src/commands/restore.ts'
import { countCells } from '../support/run/cells.ts'
import { restoreContext, type RestoreRun } from '../support/builders/restore-context.ts'
import {
  dataChecksum,
  type DataChecksum,
  giveToTestUser,
  isInstalled,
  makeTestDir,
  startCluster,
} from '../support/postgres/postgres.ts'
import { aSite, PGBACKREST, type Site } from '../support/sites/site.ts'

const installed = PGBACKREST.includes('/') || isInstalled(PGBACKREST)
const cell = countCells('restore of backups by pgbackrest', 8)

/** Backups of the real pgbackrest, restored by pgts: the server starts on them and has the same data. */
describe.runIf(installed).each(['none', 'gz', 'lz4', 'zst'])(
  'a backup of pgbackrest with compress-type %s',
  (compressType) => {
    let site: Site
    let before: DataChecksum
    let tablespace: string

    beforeAll(async () => {
      site = await aSite({
        archiver: 'pgbackrest',
        options: {
          'compress-type': compressType,
          'repo1-bundle': compressType === 'zst' ? 'y' : 'n',
          'process-max': '2',
        },
      })
      tablespace = join(site.dir, 'ts')
      mkdirSync(tablespace)
      giveToTestUser(tablespace)
      await site.pgbackrestOk('stanza-create')
      await site.cluster.query(`create tablespace fast location '${tablespace}'`)
      await site.cluster.query('create table big as select i, md5(i::text) as t from generate_series(1, 50000) i')
      await site.cluster.query('create table moved (i int primary key, t text) tablespace fast')
      await site.cluster.query(`insert into moved select i, repeat('x', i) from generate_series(1, 500) i`)
      await site.cluster.query('create table empty ()')
      await site.pgbackrestOk('backup', '--type=full')
      await site.cluster.query(`update big set t = 'changed' where i % 7 = 0`)
      await site.pgbackrestOk('backup', '--type=incr')
      await site.cluster.query('insert into big select i, null from generate_series(60000, 61000) i')
      await site.cluster.query('select pg_switch_wal()')
      before = await dataChecksum(site.cluster)
      await site.cluster.stop()
    }, 120_000)
    afterAll(() => site[Symbol.asyncDispose]())

    const run = (pgPath: string, more: Partial<RestoreRun['options']> = {}): RestoreRun => ({
      repoPaths: [site.repo],
      pgPath,
      spoolPath: join(site.dir, 'spool'),
      options: {
        cmd: 'pgbackrest',
        tablespaceMap: new Map([['fast', `${pgPath}-ts`]]),
        ...more,
      } as RestoreRun['options'] & object,
      typed: [`--config=${site.config}`, `--pg1-path=${pgPath}`, '--stanza=main'],
    })

    test('is restored into an empty directory, and over a damaged one with --delta', async () => {
      const pgPath = join(makeTestDir('target'), 'data')
      const context = restoreContext(run(pgPath))
      const report = await restore(context)
      expect(report.restored).toBeGreaterThan(100)
      expect(report.removed).toBe(0)
      expect(existsSync(join(pgPath, 'backup.manifest'))).toBe(false)
      {
        await using cluster = await startCluster({ dir: pgPath })
        await cluster.untilPrimary()
        expect(await dataChecksum(cluster)).toEqual(before)
        cell(`${compressType} restored`)
      }

      // Every kind of damage: flipped bytes, truncated, grown, missing, another type, extra files, wrong mode, a link out of the cluster.
      const outside = makeTestDir('outside')
      writeFileSync(join(outside, 'precious'), 'keep')
      const version = join(pgPath, 'PG_VERSION')
      writeFileSync(join(pgPath, 'base/1/1259'), 'damaged')
      rmSync(join(pgPath, 'base/1/1249'))
      mkdirSync(join(pgPath, 'base/1/1249'))
      writeFileSync(join(pgPath, 'pg_ident.conf'), readFileSync(join(pgPath, 'pg_ident.conf'), 'latin1') + 'grown')
      chmodSync(version, 0o644)
      writeFileSync(join(pgPath, 'strange'), '')
      symlinkSync(outside, join(pgPath, 'global-old'))
      rmSync(join(pgPath, 'pg_stat_tmp'), { recursive: true })
      symlinkSync(outside, join(pgPath, 'pg_stat_tmp'))
      giveToTestUser(pgPath)

      const again = await restore(restoreContext(run(pgPath, { delta: true })))
      expect(again.unchanged).toBeGreaterThan(again.restored)
      expect(again.removed).toBeGreaterThan(3)
      expect(readFileSync(join(outside, 'precious'), 'latin1')).toBe('keep')
      {
        await using cluster = await startCluster({ dir: pgPath })
        await cluster.untilPrimary()
        expect(await dataChecksum(cluster)).toEqual(before)
        cell(`${compressType} repaired with --delta`)
      }
    }, 120_000)
  },
)
