import type { ControlFile } from '../../postgres/control-file.ts'

/** Limits of the primary below which a standby does not accept connections. */
const LIMITS = [
  'max_connections',
  'max_worker_processes',
  'max_wal_senders',
  'max_prepared_transactions',
  'max_locks_per_transaction',
] as const

export type RequiredLimits = Readonly<Partial<Record<(typeof LIMITS)[number], number>>>

/**
 * The limits in pg_control. They lie 36 bytes before the page size, one after the other; max_wal_senders is there since 12.
 *
 * @see PostgreSQL, src/include/catalog/pg_control.h: ControlFileData, and CheckRequiredParameterValues
 */
export function requiredLimits({ bytes, postgres }: ControlFile): RequiredLimits {
  const first = postgres.control.pageSize - 36
  const names = postgres.number >= 120_000 ? LIMITS : LIMITS.filter((name) => name !== 'max_wal_senders')
  return Object.fromEntries(names.map((name, at) => [name, bytes.readInt32LE(first + 4 * at)]))
}
