import type { ServerConnection } from '../../postgres/client.ts'
import type { Clock } from '../../util/clock.ts'
import { messageOf, isPgtsError } from '../../util/error.ts'
import { isExecutable } from '../../util/is-executable.ts'
import type { OwnerIds } from '../restore/file-system.ts'
import type { DrillCheck } from './record.ts'
import { runProgram } from './run-program.ts'
import { DRILL_PORT } from './scratch.ts'
import type { DrillServer } from './server.ts'
import type { SqlStatement } from './statements.ts'

export interface CheckRequest {
  readonly server: DrillServer
  /** Directory of the socket. */
  readonly socket: string
  /** Directory of the programs. */
  readonly programs: string
  /** Superuser of the cluster. */
  readonly user: string
  readonly databases: readonly string[]
  readonly owner?: OwnerIds
  readonly env: Readonly<Record<string, string | undefined>>
  readonly clock: Clock
  readonly signal: AbortSignal
}

type Finding = Omit<DrillCheck, 'name' | 'durationMs'>

const MOST_DETAIL = 200

/** Runs a check and measures it. */
export async function timed(name: string, clock: Clock, check: () => Promise<Finding>): Promise<DrillCheck> {
  const startMs = clock.nowMs()
  const { result, detail } = await check()
  return { name, result, detail: detail === undefined ? undefined : cut(detail), durationMs: clock.nowMs() - startMs }
}

/** Databases that can be connected to; names as text. */
export async function databasesOf(server: DrillServer, user: string): Promise<string[]> {
  await using connection = await server.connect(user)
  const rows = await connection.query<{ name: string }>(
    'select datname as name from pg_catalog.pg_database where datallowconn order by datname',
  )
  return rows.map(({ name }) => name)
}

/** Messages about this host, which do not prove that a database is corrupt. */
const OF_THIS_HOST = /locale|could not access file "[^"]*": No such file|could not load library/

/**
 * Connects to every database, and compares the versions of collations of databases and indexes with those of this host. Indexes with another version can be wrong on
 * this host, which is no fault of the backup.
 */
export async function checkDatabases({ server, user, databases, signal }: CheckRequest): Promise<Finding> {
  const failed: string[] = []
  const differing: string[] = []
  for (const database of databases) {
    try {
      await using connection = await server.connect(user, database)
      differing.push(...(await differingCollations(connection)).map((name) => `${database}: ${name}`))
    } catch (error) {
      signal.throwIfAborted()
      if (!isPgtsError(error)) throw error
      const list = OF_THIS_HOST.test(error.message) ? differing : failed
      list.push(`${database}: ${error.message}`)
    }
  }
  if (failed.length > 0) return { result: 'failed', detail: failed.join(', ') }
  if (differing.length > 0) return { result: 'warning', detail: `differs on this host: ${differing.join(', ')}` }
  return { result: 'passed', detail: databases.join(', ') }
}

async function differingCollations(connection: ServerConnection): Promise<string[]> {
  const ofDatabase =
    connection.facts.versionNum < 150_000
      ? ''
      : `select 'collation default' as name from pg_catalog.pg_database
         where datname = pg_catalog.current_database()
           and datcollversion <> pg_catalog.pg_database_collation_actual_version(oid) union all `
  const rows = await connection.query<{ name: string }>(
    `${ofDatabase}select 'collation ' || collname as name from pg_catalog.pg_collation
     where collversion <> pg_catalog.pg_collation_actual_version(oid)
       and oid in (select pg_catalog.unnest(indcollation::oid[]) from pg_catalog.pg_index)`,
  )
  return rows.map(({ name }) => name)
}

/** B-tree indexes and heaps, in the databases that have the extension. */
export async function checkRelations(request: CheckRequest): Promise<Finding> {
  const { user, databases, programs, socket } = request
  const program = `${programs}/pg_amcheck`
  if (!isExecutable(program)) return { result: 'skipped', detail: `there is no ${program}` }
  const ready: string[] = []
  for (const database of databases) if (await hasAmcheck(request, database)) ready.push(database)
  if (ready.length === 0) return { result: 'skipped', detail: 'no database has the extension amcheck' }
  const patterns = ready.map((name) => `--database="${name.replaceAll('"', '""')}"`)
  const connect = [`--host=${socket}`, `--port=${DRILL_PORT}`, `--username=${user}`, '--no-password']
  const { code, output } = await runProgram(program, [...connect, ...patterns], request)
  if (code === 0) return { result: 'passed', detail: ready.join(', ') }
  // 2: it found corruption.
  if (code === 2) return { result: 'failed', detail: output }
  return { result: 'skipped', detail: `pg_amcheck ended with code ${code}: ${output}` }
}

/** False also for a database that cannot be connected to, which `checkDatabases` reports. */
async function hasAmcheck({ server, user, signal }: CheckRequest, database: string): Promise<boolean> {
  try {
    await using connection = await server.connect(user, database)
    const rows = await connection.query(`select from pg_catalog.pg_extension where extname = 'amcheck'`)
    return rows.length > 0
  } catch (error) {
    signal.throwIfAborted()
    if (!isPgtsError(error)) throw error
    return false
  }
}

/** A statement passes if it returns at least one row and no other value than true. */
export async function checkStatement(
  { server, user, signal }: CheckRequest,
  { database, text, title, line }: SqlStatement,
): Promise<Finding> {
  const named = (problem: string) => `${title} (line ${line}): ${problem}`
  try {
    await using connection = await server.connect(user, database)
    await connection.query('reset search_path')
    const rows = await connection.rows(text)
    const wrong = rows.flat().find((value) => value !== true)
    if (rows.flat().length === 0) return { result: 'failed', detail: named('it returned no value') }
    if (wrong !== undefined) return { result: 'failed', detail: named(`it returned ${String(wrong)}`) }
    return { result: 'passed', detail: title }
  } catch (error) {
    signal.throwIfAborted()
    if (!isPgtsError(error)) throw error
    return { result: 'failed', detail: named(messageOf(error)) }
  }
}

function cut(text: string): string {
  const line = text.trim().replaceAll(/\s*\n\s*/g, '; ')
  return line.length <= MOST_DETAIL ? line : `${line.slice(0, MOST_DETAIL - 3)}...`
}
