import { byteString, bytesOf, type ServerConnection } from './client.ts'
import type { ByteString } from '../util/byte-string.ts'

/** Identifies a relation by the path of its file. */
export interface RelationFile {
  /** 0: shared by all databases. */
  readonly databaseOid: number
  readonly tablespaceOid: number
  readonly fileNode: number
}

const DEFAULT_TABLESPACE = 1663
const GLOBAL_TABLESPACE = 1664

const SHARED = /^pg_data\/global\/(\d+)(?:_[a-z]+)?(?:\.\d+)?$/
const DEFAULT = /^pg_data\/base\/(\d+)\/(\d+)(?:_[a-z]+)?(?:\.\d+)?$/
const ELSEWHERE = /^pg_tblspc\/(\d+)\/[^/]+\/(\d+)\/(\d+)(?:_[a-z]+)?(?:\.\d+)?$/

/**
 * @param name manifest name: `pg_data/base/5/16384_vm.1`, `pg_tblspc/16390/PG_17_202406281/5/16391`
 * @returns undefined for a path that is not a file of a relation
 */
export function relationFileOf(name: string): RelationFile | undefined {
  const shared = SHARED.exec(name)
  if (shared !== null) return { databaseOid: 0, tablespaceOid: GLOBAL_TABLESPACE, fileNode: Number(shared[1]) }
  const usual = DEFAULT.exec(name)
  if (usual !== null)
    return { databaseOid: Number(usual[1]), tablespaceOid: DEFAULT_TABLESPACE, fileNode: Number(usual[2]) }
  const other = ELSEWHERE.exec(name)
  if (other === null) return undefined
  return { databaseOid: Number(other[2]), tablespaceOid: Number(other[1]), fileNode: Number(other[3]) }
}

/**
 * `public.accounts`, a byte string; undefined if the server has no such file (the relation was dropped or rewritten).
 *
 * @param connection to the relation's own database, any for a shared one
 */
export async function relationName(connection: ServerConnection, file: RelationFile): Promise<ByteString | undefined> {
  const [row] = await connection.query<{ name: unknown }>(
    `select ${bytesOf("pg_catalog.format('%I.%I', n.nspname, c.relname)")} as name
     from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
     where c.oid = pg_catalog.pg_filenode_relation(${file.tablespaceOid}, ${file.fileNode})`,
  )
  return row === undefined ? undefined : byteString(row.name)
}
