import { existsSync } from 'node:fs'
import { expect, test } from 'vitest'
import {
  checkIndexes,
  dataChecksum,
  runAs,
  SERVER_VERSIONS,
  startCluster,
  testUser,
} from '../support/postgres/postgres.ts'

test.each(SERVER_VERSIONS)('a server of version %i starts, crashes, recovers and stops', async (version) => {
  await using cluster = await startCluster({ version })
  await cluster.query(`
    create table t (id int primary key, v text, long text);
    create index on t (v text_pattern_ops);
    create index on t (v desc) where id % 2 = 0;
    create index on t (lower(v), id);
    insert into t select i, md5(i::text), null from generate_series(1, 2000) i;
    insert into t values (0, 'zero', repeat('long ', 100000));
    create unlogged table u as select 1 as x`)
  const before = await dataChecksum(cluster)
  expect(Object.keys(before)).toHaveLength(4)
  expect(before['postgres.public.t']).toMatch(/^2001:\d+$/)
  expect(before['postgres.public.t by t_pkey']).toBe(before['postgres.public.t'])
  await cluster.kill()
  expect(cluster.running).toBe(false)
  await cluster.start()
  expect(await dataChecksum(cluster)).toEqual(before)
  expect(await checkIndexes(cluster)).toBeGreaterThan(100)
  await cluster.query('delete from t where id = 7')
  expect(await dataChecksum(cluster)).not.toEqual(before)
  await cluster.stop()
  expect(existsSync(`${cluster.dataDir}/postmaster.pid`)).toBe(false)
})

test('programs run as an unprivileged user, under a deadline', async () => {
  const who = await runAs(testUser, 'id', ['-u'])
  expect(who.stdout.trim()).not.toBe('0')
  const late = await runAs(testUser, 'sh', ['-c', 'sleep 30 & wait'], { deadlineMs: 200 })
  expect(late).toMatchObject({ timedOut: true, signal: 'SIGKILL' })
})
