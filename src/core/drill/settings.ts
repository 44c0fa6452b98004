import type { ControlFile } from '../../postgres/control-file.ts'
import { asBytes, bytes, textToBytes, type ByteString } from '../../util/byte-string.ts'
import { quoteSetting } from '../restore/recovery.ts'
import { requiredLimits } from './required-limits.ts'
import { DRILL_PORT, type ScratchPlaces } from './scratch.ts'

const MB = 1024 * 1024

/**
 * postgresql.conf of a drill. A later line wins: settings of the operator replace those of size and cost, and nothing replaces those of isolation.
 *
 * @param recovery settings of the recovery and of the operator, as restore writes them; for PostgreSQL before 12 they are in recovery.conf
 */
export function drillConfiguration(
  control: ControlFile,
  places: ScratchPlaces,
  recovery: ReadonlyMap<string, ByteString>,
): string {
  const sections: readonly (readonly [string, Iterable<readonly [string, ByteString]>])[] = [
    ['Size and cost', Object.entries(sizes(control)).map(([name, value]) => [name, asBytes(String(value))])],
    ['Recovery', recovery],
    ['Isolation', isolation(control, places)],
  ]
  return sections.map(([title, settings]) => `# ${title}\n${[...settings].map(lineOf).join('')}`).join('\n')
}

function lineOf([name, value]: readonly [string, ByteString]): string {
  return `${name} = ${quoteSetting(value)}\n`
}

function sizes(control: ControlFile): Readonly<Record<string, string | number | undefined>> {
  const segmentMb = control.walSegmentSize / MB
  return {
    ...requiredLimits(control),
    shared_buffers: '64MB',
    huge_pages: 'off',
    max_parallel_workers: 0,
    min_wal_size: `${Math.max(32, 2 * segmentMb)}MB`,
    max_wal_size: `${Math.max(256, 4 * segmentMb)}MB`,
    // The copy is thrown away.
    fsync: 'off',
    ...(control.postgres.number >= 110_000 ? { jit: 'off' } : {}),
    shared_preload_libraries: '',
    log_destination: 'stderr',
  }
}

/** Nothing of the copy reaches production, and only the drill can connect to it. */
function isolation({ postgres: { number } }: ControlFile, places: ScratchPlaces): Map<string, ByteString> {
  const since = (version: number, settings: Readonly<Record<string, string>>) => (number >= version ? settings : {})
  const fixed = {
    archive_mode: 'off',
    listen_addresses: '',
    port: String(DRILL_PORT),
    unix_socket_permissions: '0700',
    external_pid_file: '',
    ssl: 'off',
    logging_collector: 'off',
    // Messages are searched for their level.
    lc_messages: 'C',
    cluster_name: 'pgts drill',
    hot_standby: 'on',
    default_transaction_read_only: 'on',
    autovacuum: 'off',
    max_logical_replication_workers: '0',
    ...since(120_000, {
      primary_conninfo: '',
      primary_slot_name: '',
      archive_cleanup_command: '',
      recovery_end_command: '',
      // Never promote: it would start subscriptions and take a timeline.
      recovery_target_action: 'pause',
    }),
    ...since(150_000, { archive_library: '' }),
    ...since(170_000, { event_triggers: 'off', sync_replication_slots: 'off' }),
  }
  const settings = new Map(Object.entries(fixed).map(([name, value]) => [name, asBytes(value)]))
  settings.set('unix_socket_directories', textToBytes(places.socket))
  settings.set('hba_file', bytes`${textToBytes(places.directory)}/pg_hba.conf`)
  settings.set('ident_file', bytes`${textToBytes(places.directory)}/pg_ident.conf`)
  return settings
}

/** Only through the socket, whose directory only this user can enter. */
export const DRILL_HBA = 'local all all trust\n'
