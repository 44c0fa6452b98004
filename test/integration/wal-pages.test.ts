import { chmodSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { isWalSegment, lsnOfSegment, parseWalSegment, timelineOf } from '../../src/format/wal-segment.ts'
import { WalPageWalk, type WalFault } from '../../src/postgres/wal-pages.ts'
import {
  type Cluster,
  giveToTestUser,
  makeTestDir,
  type ServerVersion,
  startCluster,
} from '../support/postgres/postgres.ts'

const PAGE = 8192
const KINDS = ['full', 'switched'] as const

function walk(name: string, content: Uint8Array, chunkBytes = content.length): WalFault | undefined {
  const pages = new WalPageWalk({
    startLsn: () => lsnOfSegment(parseWalSegment(name), content.length),
    timeline: timelineOf(name),
  })
  // As in a reader: one buffer for all reads.
  const buffer = Buffer.alloc(chunkBytes)
  for (let at = 0; at < content.length; at += chunkBytes) {
    const piece = content.subarray(at, at + chunkBytes)
    buffer.set(piece)
    pages.push(buffer.subarray(0, piece.length))
  }
  return pages.fault
}

/** A server that archives by `cp`, and its WAL after several kinds of shutdown. */
async function archiveOf(version: ServerVersion): Promise<Map<string, Buffer>> {
  const dir = makeTestDir('archive')
  giveToTestUser(dir)
  chmodSync(dir, 0o777)
  const large = version === 10
  await using cluster = await startCluster({
    version,
    walSegsizeMb: large ? 16 : 1,
    conf: {
      archive_mode: 'on',
      archive_command: `cp %p ${dir}/%f`,
      wal_log_hints: 'on',
      ...(large ? {} : { min_wal_size: '2MB', max_wal_size: '4MB' }),
    },
  })
  const emit = (bytes: number) => cluster.query(`select pg_logical_emit_message(false, '', repeat('y', ${bytes}))`)
  await cluster.query('create table t (x text)')
  // Switch records at every distance from the end of a page, so that some begin on the page before.
  for (let i = 0; i < (large ? 5 : 70); i++) {
    await emit(7800 + 8 * i)
    await cluster.query('select pg_switch_wal()')
  }
  await cluster.query('select pg_switch_wal(); select pg_switch_wal()')
  // Full segments, records that are longer than one segment, recycled files, and a crash.
  await emit(large ? 40_000_000 : 2_500_000)
  for (let i = 0; i < 3; i++) {
    await cluster.query('insert into t select md5(g::text) from generate_series(1, 20000) g')
    await cluster.query('checkpoint')
  }
  const cut = cluster
    .query('insert into t select md5(g::text) from generate_series(1, 200000) g')
    .catch(() => undefined)
  await untilArchiving(cluster)
  await cluster.kill()
  await cut
  await cluster.start()
  await cluster.query('insert into t select md5(g::text) from generate_series(1, 20000) g')
  await cluster.stop()
  await cluster.start()
  await untilArchived(cluster)
  await cluster.stop()
  return new Map(
    readdirSync(dir)
      .filter(isWalSegment)
      .sort()
      .map((name) => [name, readFileSync(join(dir, name))]),
  )
}

async function untilArchiving(cluster: Cluster): Promise<void> {
  const before = await lsn(cluster)
  while ((await lsn(cluster)) === before) await sleep(5)
}

async function lsn(cluster: Cluster): Promise<unknown> {
  const client = await cluster.client()
  try {
    return (await client.query<{ lsn: string }>('select pg_current_wal_lsn() as lsn')).rows[0]?.lsn
  } finally {
    await client.end()
  }
}

async function untilArchived(cluster: Cluster): Promise<void> {
  const status = join(cluster.dataDir, 'pg_wal/archive_status')
  while (readdirSync(status).some((name) => name.endsWith('.ready'))) await sleep(20)
}

function leftBefore(content: Buffer, page: number): number {
  return page < 2 ? 0 : content.readUInt32LE((page - 1) * PAGE + 16)
}

const isZero = (bytes: Uint8Array) => bytes.every((byte) => byte === 0)

describe.each([10, 18] as const)('WAL of PostgreSQL %i', (version) => {
  test('is accepted, and refused with one damaged page', async () => {
    const archive = await archiveOf(version)
    expect(archive.size).toBeGreaterThan(version === 10 ? 6 : 80)
    for (const [name, content] of archive) {
      expect({ name, fault: walk(name, content) }).toEqual({ name, fault: undefined })
    }

    // The last page with content; bytes after a switch record are ignored.
    const segments = [...archive].map(([name, content]) => {
      let pages = content.length / PAGE
      while (isZero(content.subarray((pages - 1) * PAGE + 24, pages * PAGE))) pages--
      return { name, content, pages, kind: pages === content.length / PAGE ? 'full' : 'switched' }
    })
    const splitSwitches = segments.filter(({ content, pages }) => {
      const [rest, body] = [content.readUInt32LE((pages - 1) * PAGE + 16), (pages - 1) * PAGE + (pages === 1 ? 40 : 24)]
      return (rest === 8 || rest === 16) && isZero(content.subarray(body + rest, pages * PAGE))
    })
    if (version !== 10) expect(splitSwitches.length).toBeGreaterThan(0)

    for (const kind of KINDS) {
      const some = segments.filter((segment) => segment.kind === kind && segment.pages > 1)
      expect(some.length).toBeGreaterThan(0)
      fc.assert(
        fc.property(
          fc.nat(),
          fc.nat(),
          fc.nat(),
          fc.integer({ min: 1, max: 255 }),
          damages,
          (n, p, q, flip, damage) => {
            const { name, content, pages } = some[n % some.length] as (typeof some)[number]
            const page = p % pages
            const other = some[q % some.length] as (typeof some)[number]
            const bytes = Buffer.from(content)
            const at = page * PAGE
            // The remaining length of a record is known only from the page on which it begins.
            const left = content.readUInt32LE(at + 16)
            fc.pre(damage.kind !== 'flip' || damage.at < 16 || left === 0 || leftBefore(content, page) >= PAGE - 24)
            if (damage.kind === 'flip') bytes[at + damage.at] = (bytes[at + damage.at] as number) ^ flip
            else if (damage.kind === 'zero') bytes.fill(0, at, at + PAGE)
            else if (damage.kind === 'other') {
              fc.pre(other.name !== name)
              other.content.copy(bytes, at, at, at + PAGE)
            } else {
              const second = q % pages
              fc.pre(second !== page)
              content.copy(bytes, at, second * PAGE, second * PAGE + PAGE)
              content.copy(bytes, second * PAGE, at, at + PAGE)
            }
            // Zeros in place of the last page, or in a header with zeros, change nothing.
            fc.pre(!bytes.equals(content))
            expect(walk(name, bytes)).toBeDefined()
            expect(walk(name, bytes, 100_000)).toEqual(walk(name, bytes))
          },
        ),
        { numRuns: version === 10 ? 50 : 300 },
      )
    }
  }, 120_000)
})

/** Byte 16 to 19 hold the remaining length; 20 to 23 are padding. A flag about backups only may change. */
const damages = fc.oneof(
  fc.record({ kind: fc.constant('flip' as const), at: fc.integer({ min: 4, max: 19 }) }),
  fc.record({ kind: fc.constant('flip' as const), at: fc.constantFrom(0, 1, 3) }),
  fc.record({ kind: fc.constantFrom('zero' as const, 'other' as const, 'swap' as const) }),
)
