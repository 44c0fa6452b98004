import { chmodSync, existsSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Cluster } from '../postgres/postgres.ts'

/**
 * How many segments the storms write; a thousand by hand:
 * `PGTS_TEST_SEGMENTS=1000 PGTS_TEST_WAL_MB=16 npx vitest run test/fault/archive-storm.test.ts`
 */
export function segmentsWanted(standard: number): number {
  return Number(process.env['PGTS_TEST_SEGMENTS'] ?? standard)
}

export const WAL_SEGMENT_MB = Number(process.env['PGTS_TEST_WAL_MB'] ?? 1)

/** Numbered rows, each in a segment of its own, and each with its position in WAL. */
export class NumberedRows {
  #next = 1
  constructor(readonly cluster: Cluster) {}

  /** Number of the last row that was acknowledged. */
  get last(): number {
    return this.#next - 1
  }

  async create(): Promise<void> {
    await this.cluster.query('create table storm (seq int primary key, lsn pg_lsn not null, filler text not null)')
  }

  /** One row and a switch to the next segment. */
  async write(): Promise<void> {
    await this.row()
    await this.cluster.query('select pg_switch_wal()')
  }

  async row(): Promise<void> {
    const seq = this.#next
    await this.cluster.query(
      `insert into storm select $1::int, pg_current_wal_insert_lsn(), string_agg(md5(i::text || $1::text), '')
         from generate_series(1, 300) i`,
      [seq],
    )
    this.#next = seq + 1
  }

  /** After a crash: acknowledged rows must exist, and the row in flight may. */
  async resume(): Promise<void> {
    const [row] = await this.cluster.query(
      'select coalesce(max(seq), 0)::int as last, count(*)::int as rows from storm',
    )
    const { last, rows } = row as { last: number; rows: number }
    if (rows !== last || (last !== this.last && last !== this.last + 1))
      throw new Error(`${this.last} rows were acknowledged, and after the crash there are ${rows} to number ${last}`)
    this.#next = last + 1
  }
}

/** Numbers of the rows in the order in which they were written. */
export async function numbersOf(cluster: Cluster): Promise<number[]> {
  return (await cluster.query('select seq from storm order by lsn')).map((row) => Number(row['seq']))
}

/** Names of all segments from the one with this LSN to the one before the current one. */
export async function segmentsSince(cluster: Cluster, lsn: string): Promise<string[]> {
  const rows = await cluster.query(
    `with size as (select setting::numeric as bytes from pg_settings where name = 'wal_segment_size'),
          ends as (select trunc(($1::pg_lsn - '0/0') / bytes) as first,
                          trunc((pg_current_wal_insert_lsn() - '0/0' - 1) / bytes) as current from size)
     select pg_walfile_name('0/0'::pg_lsn + (n * bytes + 1)) as name
       from size, ends, generate_series(first, current - 1) n order by n`,
    [lsn],
  )
  return rows.map((row) => String(row['name']))
}

/** For a fifth of the time a directory is not accessible, so that access fails. */
export class BarredDirectory implements AsyncDisposable {
  #ended = false
  readonly #done: Promise<void>
  constructor(readonly path: string) {
    this.#done = this.#torment()
  }

  async #torment(): Promise<void> {
    while (!this.#ended) {
      if (existsSync(this.path)) {
        chmodSync(this.path, 0o000)
        await sleep(10)
        chmodSync(this.path, 0o750)
      }
      await sleep(40)
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#ended = true
    await this.#done
  }
}

/** Use up all free inodes of a small file system; undone by `free`. */
export class FilledDisk {
  readonly #files: string[] = []
  constructor(dir: string) {
    for (let i = 0; ; i++) {
      const path = join(dir, `filler-${i}`)
      try {
        writeFileSync(path, '')
        this.#files.push(path)
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code === 'ENOSPC') return
        throw error
      }
    }
  }

  free(): void {
    for (const path of this.#files) rmSync(path)
  }
}
