import type pg from 'pg'
import type { Cluster } from './postgres.ts'

/** `<database>.<schema>.<table>` or, read through an index, `<database>.<schema>.<table> by <index>` → `<rows>:<hash>`. */
export type DataChecksum = Record<string, string>

/**
 * Checksums of all rows of all permanent tables in all databases, read through the heap and again through every btree
 * index, one at a time. Two clusters hold the same data when these objects are equal (and on each of them the entries
 * of a table agree with those of its full indexes, which this function checks itself).
 *
 * Unlogged and temporary tables are omitted: a restore empties them. So are sequences: recovery may advance them by a few
 * values. Toasted values are read, because the text of every row is hashed. Indexes whose first column has an
 * operator class of its own cannot be read by `order by`; `checkIndexes` checks them.
 */
export async function dataChecksum(cluster: Cluster): Promise<DataChecksum> {
  const databases = await cluster.query('select datname from pg_database where datallowconn order by 1')
  const result: DataChecksum = {}
  for (const { datname } of databases) {
    const client = await cluster.client(datname as string)
    try {
      await checksumDatabase(client, datname as string, result)
    } finally {
      await client.end()
    }
  }
  return result
}

interface TableRow {
  oid: number
  name: string
}

interface IndexRow {
  oid: number
  name: string
  predicate: string | null
  order: string
}

async function checksumDatabase(client: pg.Client, database: string, result: DataChecksum): Promise<void> {
  const tables = await client.query<TableRow>(
    `select c.oid::int8::int4 as oid, format('%I.%I', n.nspname, c.relname) as name
     from pg_class c join pg_namespace n on n.oid = c.relnamespace
     where c.relkind in ('r', 'm') and c.relpersistence = 'p'
       and n.nspname not in ('pg_catalog', 'information_schema', 'pg_toast') order by 2`,
  )
  for (const table of tables.rows) {
    const viaHeap = await readHeap(client, table)
    result[`${database}.${table.name}`] = viaHeap
    // `order by` the first key column in the direction of the index makes the planner read the whole index.
    const indexes = await client.query<IndexRow>(
      `select i.indexrelid::int8::int4 as oid, c.relname as name, pg_get_expr(i.indpred, i.indrelid) as predicate,
         pg_get_indexdef(i.indexrelid, 1, true) || case when i.indoption[0] & 1 = 1 then ' desc' else '' end
           || case when i.indoption[0] & 2 = 2 then ' nulls first' else ' nulls last' end as "order"
       from pg_index i join pg_class c on c.oid = i.indexrelid join pg_am a on a.oid = c.relam
       where i.indrelid = $1 and i.indisvalid and a.amname = 'btree'
         and (select o.opcdefault from pg_opclass o where o.oid = i.indclass[0]) order by 2`,
      [table.oid],
    )
    for (const index of indexes.rows) {
      const viaIndex = await readIndex(client, table, index)
      if (index.predicate === null && viaIndex !== viaHeap) {
        throw new Error(`${database}.${table.name}: the heap gives ${viaHeap}, index ${index.name} gives ${viaIndex}`)
      }
      result[`${database}.${table.name} by ${index.name}`] = viaIndex
    }
  }
}

/** A sum of row hashes needs no order, so neither plan has to sort. */
function checksumSql(source: string): string {
  return `select count(*) || ':' || coalesce(sum(('x' || left(md5((r.*)::text), 15))::bit(60)::int8), 0) as checksum from ${source} r`
}

async function readHeap(client: pg.Client, table: TableRow): Promise<string> {
  return inTransaction(client, async () => {
    await client.query(
      'set local enable_indexscan = off; set local enable_indexonlyscan = off; set local enable_bitmapscan = off',
    )
    return one(client, checksumSql(table.name))
  })
}

async function readIndex(client: pg.Client, table: TableRow, index: IndexRow): Promise<string> {
  return inTransaction(client, async () => {
    // Until the rollback this is the only index of the table that the planner may use.
    await client.query('update pg_index set indisvalid = (indexrelid = $2) where indrelid = $1', [table.oid, index.oid])
    await client.query('set local enable_seqscan = off; set local enable_bitmapscan = off; set local enable_sort = off')
    const where = index.predicate === null ? '' : ` where ${index.predicate}`
    const sql = checksumSql(`(select * from ${table.name}${where} order by ${index.order})`)
    const plan = (await client.query<Record<'QUERY PLAN', string>>(`explain ${sql}`)).rows
      .map((row) => row['QUERY PLAN'])
      .join('\n')
    if (!/Index (Only )?Scan/.test(plan)) throw new Error(`${table.name} is not read through ${index.name}:\n${plan}`)
    return one(client, sql)
  })
}

async function one(client: pg.Client, sql: string): Promise<string> {
  return (await client.query<{ checksum: string }>(sql)).rows[0]!.checksum
}

async function inTransaction<T>(client: pg.Client, work: () => Promise<T>): Promise<T> {
  await client.query('begin')
  try {
    return await work()
  } finally {
    await client.query('rollback')
  }
}

/**
 * amcheck of PostgreSQL compares every btree index of every database, catalogs included, with its heap.
 * Installs the extension `amcheck`, so compare data first.
 */
export async function checkIndexes(cluster: Cluster): Promise<number> {
  let checked = 0
  // Comparing with the heap came with 11; before, only the structure of the index is checked.
  const call = cluster.version >= 11 ? 'bt_index_check(i.indexrelid, true)' : 'bt_index_check(i.indexrelid)'
  for (const { datname } of await cluster.query('select datname from pg_database where datallowconn order by 1')) {
    await cluster.query('create extension if not exists amcheck', [], datname as string)
    const rows = await cluster.query(
      `select ${call} from pg_index i join pg_class c on c.oid = i.indexrelid
       join pg_am a on a.oid = c.relam where a.amname = 'btree' and i.indisvalid and c.relpersistence = 'p'`,
      [],
      datname as string,
    )
    checked += rows.length
  }
  return checked
}
