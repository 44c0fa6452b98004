import { SERVER_VERSIONS, type ServerVersion } from '../postgres/server-versions.ts'

/**
 * The whole format in both directions: each row is one chain (full, diff, incr by its writer, one more incr by the other
 * program), and every backup of it is restored by both programs. Every value of a column occurs with every value of each other column
 * in some row.
 */
export interface Row {
  readonly writer: Program
  readonly codec: (typeof CODECS)[number]
  readonly cipher: boolean
  /** Bundles, and block incremental files in or beside them. */
  readonly pack: (typeof PACKS)[number]
  readonly version: ServerVersion
}
export type Program = 'pgts' | 'pgbackrest'

const CODECS = ['none', 'gz', 'lz4', 'zst', 'bz2'] as const
const PACKS = ['files', 'bundle', 'block'] as const

/** One row for each codec and version; the other columns change at different speeds, so that all pairs occur. */
export const rows: readonly Row[] = CODECS.flatMap((codec, c) =>
  SERVER_VERSIONS.map((version, v): Row => {
    return {
      writer: (c + v) % 2 === 0 ? 'pgts' : 'pgbackrest',
      codec,
      cipher: (c + Math.floor(v / 2)) % 2 === 0,
      pack: PACKS[(2 * c + v) % 3]!,
      version,
    }
  }),
)

/** Tested for every row: verify, info, and the restore of four backups by two programs. */
export const CELLS_A_ROW = 10

/** pgbackrest 2.45 knows PostgreSQL up to 15, and not the blocks of 2.46 and later. */
export function isSupportedBy(row: Row, pgbackrest: number): boolean {
  return pgbackrest >= 2.46 || (row.pack !== 'block' && row.version <= 15)
}

/** The rows of every commit: each codec by each writer, on each server that Debian's pgbackrest 2.45 knows. */
const EVERY_COMMIT = new Set('none 13,none 14,gz 12,gz 15,lz4 10,lz4 15,zst 13,zst 14,bz2 11,bz2 12'.split(','))

export function isRunAlways(row: Row): boolean {
  return EVERY_COMMIT.has(`${row.codec} ${row.version}`)
}
