import { spawnSync } from 'node:child_process'
import { closeSync, mkdirSync, openSync, readFileSync, statSync, truncateSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { formatSize } from '../../src/util/format-size.ts'
import { countCells } from '../support/run/cells.ts'
import { backUp, run, type Program } from '../support/sites/chain.ts'
import { type Cluster, dataChecksum, giveToTestUser, makeTestDir, startCluster } from '../support/postgres/postgres.ts'
import { aSite, PGBACKREST, type Site } from '../support/sites/site.ts'

/** Block incremental needs 2.46; without it pgts writes all rows itself. */
const version = Number(
  /(\d+\.\d+)/.exec(spawnSync(PGBACKREST, ['version'], { encoding: 'utf8' }).stdout ?? '')?.[1] ?? 0,
)
const rows: readonly { readonly writer: Program; readonly codec: string; readonly cipher: boolean }[] = [
  { writer: 'pgts', codec: 'zst', cipher: true },
  { writer: 'pgbackrest', codec: 'lz4', cipher: false },
]
const supported = rows.filter(({ writer }) => writer === 'pgts' || version >= 2.46)
/** Of a file of less than 11 MiB. */
const BLOCK = 8192
const cell = countCells('restore --delta of changed blocks', supported.length * 3)

/** A cluster that differs little is restored by fetching the differing blocks, and the server starts on the result. */
describe.each(supported)('--delta over blocks that $writer stored with $codec, cipher $cipher', (row) => {
  test('restores an older cluster, a newer one, and a damaged one', async () => {
    const name = Object.values(row).join('/')
    await using site = await aSite({
      walSegsizeMb: 1,
      archiver: row.writer,
      options: {
        'compress-type': row.codec,
        'repo1-bundle': 'y',
        'repo1-block': 'y',
        ...(row.cipher ? { 'repo1-cipher-type': 'aes-256-cbc', 'repo1-cipher-pass': 'known' } : {}),
      },
    } as Parameters<typeof aSite>[0])
    const { cluster } = site
    await run(site, row.writer, 'stanza-create')
    await cluster.query('create table big (id int primary key, v text)')
    await cluster.query('insert into big select i, repeat(md5(i::text), 4) from generate_series(1, 60000) i')
    // Otherwise reading it would write hint bits to every page.
    await cluster.query('vacuum freeze big')
    const relation = await pathOfBig(cluster)
    const older = await backUp(site, row.writer, 'full')
    await cluster.query(`update big set v = 'changed' where id = 17`)
    const middle = await backUp(site, row.writer, 'diff')
    await cluster.query(`insert into big select i, 'more' from generate_series(60001, 61000) i`)
    await cluster.query(`update big set v = 'again' where id = 30000`)
    const newer = await backUp(site, row.writer, 'incr')

    const dir = makeTestDir('revised')
    const target = join(dir, 'data')
    mkdirSync(target, { mode: 0o700 })
    giveToTestUser(dir)
    const restore = (label: string, ...more: string[]) => restoreTo(site, target, label, ...more)
    const started = async () => {
      await using restored = await startCluster({ dir: target, conf: { archive_mode: 'off' } })
      await restored.untilPrimary()
      return await dataChecksum(restored)
    }

    await restore(older.label)
    expect(await started()).toEqual(older.data)
    const size = statSync(join(target, relation)).size
    expect(size).toBeGreaterThan(8_000_000)

    // The server has run on it, so more may differ than between the backups.
    const revise = async (label: string) => {
      const before = readFileSync(join(target, relation))
      const log = await restore(label, '--delta')
      const blocks = differing(before, readFileSync(join(target, relation)))
      expect(blocks).toBeGreaterThan(0)
      expect(blocks).toBeLessThan(size / BLOCK / 2)
      expect(lineAbout(log, relation)).toContain(`(${formatSize(blocks * BLOCK)} of `)
    }
    await revise(newer.label)
    expect(await started()).toEqual(newer.data)
    cell(`${name}/forward`)
    await revise(middle.label)
    expect(await started()).toEqual(middle.data)
    cell(`${name}/back`)

    await restore(newer.label, '--delta')
    const right = readFileSync(join(target, relation))
    const fd = openSync(join(target, relation), 'r+')
    for (const page of [3, 4, 500]) writeSync(fd, Buffer.alloc(100, page), 0, 100, page * 8192 + 4000)
    closeSync(fd)
    truncateSync(join(target, relation), right.length - 5000)
    // Three pages, and the truncated block.
    const log = await restore(newer.label, '--delta')
    expect(lineAbout(log, relation)).toContain(`(${formatSize(4 * BLOCK)} of `)
    expect(readFileSync(join(target, relation)).equals(right)).toBe(true)
    expect(await started()).toEqual(newer.data)
    cell(`${name}/damaged`)
  }, 180_000)
})

async function pathOfBig(cluster: Cluster): Promise<string> {
  const [row] = await cluster.query(`select pg_relation_filepath('big')`)
  return (row as unknown as { pg_relation_filepath: string }).pg_relation_filepath
}

function restoreTo(site: Site, target: string, label: string, ...more: string[]): Promise<string> {
  const how = ['--type=immediate', '--target-action=promote', '--log-level-console=detail']
  return run(site, 'pgts', `--pg1-path=${target}`, `--set=${label}`, ...how, ...more, 'restore')
}

/** The log line of a file; for an existing file how much of it was fetched. */
function lineAbout(log: string, relation: string): string {
  return log.split('\n').find((text) => text.includes(`/${relation} `)) ?? ''
}

/** Number of blocks in which one content differs from another. */
function differing(a: Buffer, b: Buffer): number {
  let count = 0
  for (let at = 0; at < b.length; at += BLOCK) {
    if (!a.subarray(at, at + BLOCK).equals(b.subarray(at, at + BLOCK))) count++
  }
  return count
}
