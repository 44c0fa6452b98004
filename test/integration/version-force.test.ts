import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { isCheckpointInvalidated, parseControlFile } from '../../src/postgres/control-file.ts'
import { crc32c } from '../../src/postgres/crc32c.ts'
import { postgresVersion } from '../../src/postgres/versions.ts'
import { giveToTestUser, makeTestDir } from '../support/postgres/postgres.ts'
import { aSite } from '../support/sites/site.ts'
import { aSegment } from '../support/builders/wal.ts'

const FORK_CATALOG = 209912311
const FORCE = '--pg-version-force=15'

test('a fork of PostgreSQL is backed up, archived and restored with pg-version-force', async () => {
  await using site = await aSite({ start: false, walSegsizeMb: 1 })
  const { dataDir } = site.cluster
  // The fork has another catalog version, and 16 bytes of its own before the CRC.
  const path = join(dataDir, 'global/pg_control')
  const control = readFileSync(path)
  const { systemId } = parseControlFile(control)
  const { crc } = postgresVersion('15').control
  control.writeUInt32LE(FORK_CATALOG, 12)
  control.fill(0xab, crc, crc + 16)
  control.writeUInt32LE(crc32c(control.subarray(0, crc + 16)), crc + 16)
  writeFileSync(path, control)

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
