import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { isCheckpointInvalidated, parseControlFile } from '../../src/postgres/control-file.ts'
import { FORK_CATALOG, makeFork } from '../support/postgres/fork.ts'
import { giveToTestUser, makeTestDir } from '../support/postgres/postgres.ts'
import { aSite } from '../support/sites/site.ts'
import { aSegment } from '../support/builders/wal.ts'

const FORCE = '--pg-version-force=15'

test('a fork of PostgreSQL is backed up, archived and restored with pg-version-force', async () => {
  await using site = await aSite({ start: false, walSegsizeMb: 1 })
  const systemId = makeFork(site.cluster.dataDir)

  const create = ['--no-online', 'stanza-create']
  expect(await site.pgts(create)).toMatchObject({ code: 46 })
  expect(await site.pgts(['--pg-version-force=99', ...create])).toMatchObject({ code: 46 })
  await site.pgtsOk(FORCE, ...create)
  await site.pgtsOk(FORCE, '--no-online', '--type=full', 'backup')
  expect((await site.pgts(['--no-online', '--type=full', 'backup'])).code).toBe(46)

  const name = '000000010000000000000009'
  const wal = join(makeTestDir('fork'), name)
  writeFileSync(wal, aSegment({ name, systemId, magic: 0xd1ff }))
  giveToTestUser(wal)
  expect((await site.pgts(['archive-push', wal])).code).toBe(46)
  const push = await site.pgts([FORCE, 'archive-push', wal])
  expect(push.code, push.stdout).toBe(0)

  const target = join(makeTestDir('restored'), 'data')
  await site.pgtsOk(FORCE, `--pg1-path=${target}`, '--type=none', 'restore')
  const restored = parseControlFile(readFileSync(join(target, 'global/pg_control')), { versionForce: '15' })
  expect(restored).toMatchObject({ systemId, catalogVersion: FORK_CATALOG, version: '15' })
  expect(isCheckpointInvalidated(restored)).toBe(false)
}, 60_000)
