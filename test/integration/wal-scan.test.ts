import { execFileSync } from 'node:child_process'
import { chmodSync, existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { joinSegments, SegmentScan, type ScannedSegment } from '../../src/core/window/segment-scan.ts'
import { isWalSegment, nextWalSegment, type WalSegment } from '../../src/format/wal-segment.ts'
import { parseWalTimes, serialiseWalTimes } from '../../src/format/wal-times.ts'
import {
  type Cluster,
  giveToTestUser,
  makeTestDir,
  SERVER_VERSIONS,
  type ServerVersion,
  startCluster,
} from '../support/postgres/postgres.ts'
import { until } from '../support/until.ts'

const WALDUMP = '/usr/lib/postgresql/15/bin/pg_waldump'

function scan(segment: WalSegment, content: Uint8Array, chunkBytes = content.length): ScannedSegment {
  const one = new SegmentScan(segment)
  // As in a reader: one buffer for all reads.
  const buffer = Buffer.alloc(chunkBytes)
  for (let at = 0; at < content.length; at += chunkBytes) {
    const piece = content.subarray(at, at + chunkBytes)
    buffer.set(piece)
    one.push(buffer.subarray(0, piece.length))
  }
  return one.result()!
}

/** The commits of a server as it records them itself (track_commit_timestamp). */
interface Truth {
  readonly commits: ReadonlyMap<number, number>
  readonly points: readonly string[]
}

async function workload(cluster: Cluster, borders: readonly number[]): Promise<Truth> {
  const client = await cluster.client()
  const xids = new Set<number>()
  const points: string[] = []
  const segmentBytes = Number((await client.query<{ n: string }>(SEGMENT_BYTES)).rows[0]!.n)
  try {
    await client.query('create table t (x text)')
    for (let i = 0; i < 60; i++) {
      const { rows } = await client.query<{ xid: string }>(
        `insert into t select string_agg(md5(random()::text), '') from generate_series(1, 200) returning txid_current() as xid`,
      )
      xids.add(Number(rows[0]!.xid))
    }
    await client.query(
      'begin; insert into t values (1); savepoint s; insert into t values (2); prepare transaction $$p$$',
    )
    await client.query("commit prepared 'p'")
    await client.query("begin; insert into t values (1); prepare transaction 'q'")
    await client.query("rollback prepared 'q'")
    // Records that begin a few bytes before the end of a segment, so that they end in the next one.
    for (const [index, before] of borders.entries()) {
      await fillTo(cluster, segmentBytes, before)
      if (index % 2 === 0) {
        const name = `point ${before}`
        await client.query('select pg_create_restore_point($1)', [name])
        points.push(name)
      } else {
        const { rows } = await client.query<{ xid: string }>(
          "insert into t values ('x') returning txid_current() as xid",
        )
        xids.add(Number(rows[0]!.xid))
      }
    }
    await client.query("select pg_create_restore_point('last')")
    points.push('last')
    const { rows } = await client.query<{ xid: string; micros: string }>(
      `select xid::text, (extract(epoch from pg_xact_commit_timestamp(xid)) * 1000000)::bigint::text as micros
       from unnest($1::text[]::xid[]) as xid`,
      [[...xids].map(String)],
    )
    await client.query('select pg_switch_wal()')
    return { commits: new Map(rows.map(({ xid, micros }) => [Number(xid), Number(micros)])), points }
  } finally {
    await client.end()
  }
}

const SEGMENT_BYTES = `select setting::bigint * case unit when '8kB' then 8192 else 1 end as n
  from pg_settings where name = 'wal_segment_size'`

/** Messages until the next record begins `before` bytes before the end of a segment. */
async function fillTo(cluster: Cluster, segmentBytes: number, before: number): Promise<void> {
  const client = await cluster.client()
  const position = async () =>
    Number((await client.query<{ n: string }>("select pg_current_wal_insert_lsn() - '0/0'::pg_lsn as n")).rows[0]!.n)
  const emit = (bytes: number) => client.query(`select pg_logical_emit_message(false, '', repeat('y', ${bytes}))`)
  try {
    for (;;) {
      const left = segmentBytes - ((await position()) % segmentBytes)
      if (left === before) return
      if (left > 16_000) await emit(left - 12_000)
      else if (left < before + 400) await emit(400)
      // Within the last page nothing but the record is written: a header, lengths, and the text.
      else if (left < 8000) await emit(left - before - 24 - 5 - 24 - 1)
      else await emit(3000)
    }
  } finally {
    await client.end()
  }
}

async function archiveOf(version: ServerVersion) {
  const dir = makeTestDir('archive')
  giveToTestUser(dir)
  chmodSync(dir, 0o777)
  await using cluster = await startCluster({
    version,
    walSegsizeMb: version === 10 ? 16 : 1,
    conf: {
      archive_mode: 'on',
      archive_command: `cp %p ${dir}/%f`,
      track_commit_timestamp: 'on',
      max_prepared_transactions: '5',
      autovacuum: 'off',
      bgwriter_delay: '10s',
      ...(version === 10 ? {} : { min_wal_size: '2MB', max_wal_size: '64MB' }),
    },
  })
  // Segments of 1 MiB only: those of 10 have 16.
  const truth = await workload(cluster, version === 10 ? [] : [8, 16, 24, 40, 72, 96])
  await cluster.stop()
  const status = join(cluster.dataDir, 'pg_wal/archive_status')
  await cluster.start()
  await until('the segments are archived', () => !readdirSync(status).some((name) => name.endsWith('.ready')))
  await cluster.stop()
  const segments = readdirSync(dir)
    .filter(isWalSegment)
    .sort()
    .map((name) => [name, readFileSync(join(dir, name))] as const)
  return { dir, truth, segments }
}

/** Joined in any order, as pushes can be. */
function joined(scanned: readonly ScannedSegment[], version: number): ScannedSegment[] {
  const all = scanned.map((one) => ({ ...one }))
  for (let i = 1; i < all.length; i++) {
    if (nextWalSegment(all[i - 1]!.segment, all[i]!.segmentSize) !== all[i]!.segment) continue
    const { previous, next } = joinSegments(all[i - 1]!.times, all[i]!.times, version)
    all[i - 1] = { ...all[i - 1]!, times: previous }
    all[i] = { ...all[i]!, times: next }
  }
  return all
}

test.each(SERVER_VERSIONS)(
  'the scan finds the commits and restore points of PostgreSQL %i, across pages and segments',
  { timeout: 60_000 },
  async (version) => {
    const { dir, truth, segments } = await archiveOf(version)
    const scanned = segments.map(([name, content]) => scan(name, content))
    expect(scanned.filter(({ times }) => times.incomplete)).toEqual([])
    if (version > 10) expect(scanned.filter(({ times }) => times.head !== undefined).length).toBeGreaterThan(0)
    const all = joined(scanned, version)
    expect(all.flatMap(({ times }) => times.points.map(({ name }) => name))).toEqual(truth.points)
    for (const [xid, micros] of truth.commits) {
      const holders = all.filter(
        ({ times: { xids, times } }) =>
          xids !== undefined && xids[0] <= xid && xids[1] >= xid && times![0] <= micros && times![1] >= micros,
      )
      expect({ xid, found: holders.length > 0 }).toEqual({ xid, found: true })
    }
    const latest = Math.max(...truth.commits.values())
    expect(Math.max(...all.map(({ times: { times } }) => times?.[1] ?? 0))).toBeGreaterThanOrEqual(latest)

    // One by one it finds the same, and every commit with its time, but for those that cross the end of a segment.
    const stops = new Map<number | undefined, number>()
    for (const [at, [segment, bytes]] of segments.entries()) {
      const one = new SegmentScan(segment, ({ xid, time }) => stops.set(xid, time))
      one.push(bytes)
      expect(one.result()).toEqual(scanned[at])
    }
    const others = [...truth.commits].filter(([xid, micros]) => stops.get(xid) !== micros)
    expect(others.length).toBeLessThanOrEqual(scanned.filter(({ times }) => times.head !== undefined).length)

    // Chunks of any size give the same, and what is stored is what was found.
    const [name, content] = segments.at(-2)!
    expect(scan(name, content, 3000)).toEqual(scan(name, content))
    const { times, segmentSize } = scan(name, content)
    const text = serialiseWalTimes({ segmentSize, segments: new Map([[name, times]]) }).toString()
    expect(parseWalTimes(text, name.slice(0, 22))?.segments.get(name)).toEqual(times)

    if (version === 15 && existsSync(WALDUMP)) {
      const dump = execFileSync(WALDUMP, ['-p', dir, segments[0]![0], segments.at(-1)![0]], {
        encoding: 'latin1',
        maxBuffer: 1e9,
        stdio: ['ignore', 'pipe', 'ignore'],
      })
      const commits = dump.split('\n').filter((line) => /^rmgr: Transaction .*desc: COMMIT/.test(line)).length
      expect(all.reduce((sum, one) => sum + one.times.commits, 0)).toBe(commits)
    }
  },
)
