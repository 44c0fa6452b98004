import type { ServerVersion } from './postgres.ts'

/**
 * The whole format, both ways: each row is one chain (full, diff, incr by its writer, one more incr by the other
 * program), and every backup of it is restored by both. Every value of a column meets every value of each other column
 * in some row, as far as the programs allow.
 */
export interface Row {
  readonly writer: Program
  readonly codec: 'none' | 'gz' | 'lz4' | 'zst' | 'bz2'
  readonly cipher: boolean
  /** Bundles, and in them (or beside them) files as blocks. */
  readonly pack: 'files' | 'bundle' | 'block'
  readonly version: ServerVersion
}
export type Program = 'pgts' | 'pgbackrest'

export const rows: readonly Row[] = [
  { writer: 'pgts', codec: 'none', cipher: false, pack: 'files', version: 15 },
  { writer: 'pgbackrest', codec: 'none', cipher: true, pack: 'bundle', version: 14 },
  { writer: 'pgts', codec: 'gz', cipher: true, pack: 'bundle', version: 13 },
  { writer: 'pgbackrest', codec: 'gz', cipher: false, pack: 'files', version: 12 },
  { writer: 'pgts', codec: 'lz4', cipher: false, pack: 'bundle', version: 11 },
  { writer: 'pgbackrest', codec: 'lz4', cipher: true, pack: 'files', version: 10 },
  { writer: 'pgts', codec: 'zst', cipher: true, pack: 'files', version: 14 },
  { writer: 'pgbackrest', codec: 'zst', cipher: false, pack: 'bundle', version: 15 },
  { writer: 'pgts', codec: 'bz2', cipher: false, pack: 'bundle', version: 12 },
  { writer: 'pgbackrest', codec: 'bz2', cipher: true, pack: 'files', version: 13 },
  { writer: 'pgts', codec: 'zst', cipher: false, pack: 'block', version: 18 },
  { writer: 'pgbackrest', codec: 'zst', cipher: true, pack: 'block', version: 17 },
  { writer: 'pgts', codec: 'lz4', cipher: true, pack: 'block', version: 16 },
  { writer: 'pgbackrest', codec: 'gz', cipher: false, pack: 'block', version: 18 },
  { writer: 'pgts', codec: 'none', cipher: true, pack: 'block', version: 17 },
  { writer: 'pgbackrest', codec: 'bz2', cipher: false, pack: 'block', version: 16 },
]

/** Proven of every row: verify, info, and the restore of four backups by two programs. */
export const CELLS_A_ROW = 10

/** pgbackrest 2.45 knows PostgreSQL up to 15, and not the blocks of 2.46 and later. */
export function playedBy(row: Row, pgbackrest: number): boolean {
  return pgbackrest >= 2.46 || (row.pack !== 'block' && row.version <= 15)
}
