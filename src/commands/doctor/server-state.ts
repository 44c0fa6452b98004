import type { ServerState, SlotFacts } from '../../core/doctor/facts.ts'
import type { ServerConnection } from '../../postgres/client.ts'

/** Settings that rules look at; those that a version lacks are absent. */
const SETTINGS = [
  'archive_mode',
  'archive_timeout',
  'fsync',
  'full_page_writes',
  'max_slot_wal_keep_size',
  'max_wal_size',
  'wal_keep_segments',
  'wal_keep_size',
  'wal_level',
  'wal_segment_size',
]

export async function serverState(server: ServerConnection, nowMs: number): Promise<ServerState> {
  const { facts } = server
  const names = SETTINGS.map((name) => `'${name}'`).join(', ')
  const settings = await server.query<{ name: string; setting: string; pending: boolean }>(
    `select name, setting, pending_restart as pending from pg_catalog.pg_settings where name in (${names})`,
  )
  const [clock] = await server.query<{ now: string }>(
    `select (extract(epoch from pg_catalog.clock_timestamp()) * 1000)::bigint::text as now`,
  )
  return {
    versionNum: facts.versionNum,
    inRecovery: facts.inRecovery,
    settings: new Map(settings.map(({ name, setting }) => [name, setting])),
    pendingRestart: settings.filter(({ pending }) => pending).map(({ name }) => name),
    slots: await slotsOf(server),
    clockOffsetMs: Number(clock?.now ?? nowMs) - nowMs,
  }
}

interface SlotRow {
  name: string
  active: boolean
  status: string | null
  retained: string | null
}

async function slotsOf(server: ServerConnection): Promise<SlotFacts[]> {
  const { versionNum, inRecovery } = server.facts
  const status = versionNum >= 130000 ? 'wal_status' : 'null::text'
  const position = inRecovery ? 'pg_last_wal_replay_lsn()' : 'pg_current_wal_lsn()'
  const rows = await server.query<SlotRow>(
    `select slot_name as name, active, ${status} as status,
       pg_catalog.pg_wal_lsn_diff(pg_catalog.${position}, restart_lsn)::bigint::text as retained
     from pg_catalog.pg_replication_slots where not temporary order by slot_name`,
  )
  return rows.map(({ name, active, status: walStatus, retained }) => ({
    name,
    active,
    ...(retained === null ? {} : { retainedBytes: Math.max(0, Number(retained)) }),
    ...(walStatus === null ? {} : { walStatus }),
  }))
}
