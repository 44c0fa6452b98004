import { hasRecoverySignals, type PostgresVersion } from './versions.ts'

/**
 * The files that a backup excludes: those that PostgreSQL creates at start, that belong to the running server only, or that
 * recovery empties. Pure rules on names; `data-directory.ts` applies them.
 * @see PostgreSQL, src/backend/backup/basebackup.c: excludeDirContents, excludeFiles
 */

/** Files, directories and links of queries that spilled to disk, wherever they are. */
export function isTemporary(baseName: string): boolean {
  return baseName.startsWith('pgsql_tmp')
}

/** Directories in the root of PGDATA that are kept, but empty. */
export const EMPTIED_DIRECTORIES: ReadonlySet<string> = new Set([
  'pg_dynshmem',
  'pg_notify',
  'pg_replslot',
  'pg_serial',
  'pg_snapshots',
  'pg_stat_tmp',
  'pg_subtrans',
])

/** Files in the root of PGDATA that are left out. */
export function excludedRootFiles(postgres: PostgresVersion): ReadonlySet<string> {
  return new Set([
    'postmaster.pid',
    'postmaster.opts',
    'postgresql.auto.conf.tmp',
    'backup_label',
    'backup_label.old',
    // Says that this directory is a restored copy: COPY_MARK in core/cluster-copy/copy-mark-path.ts.
    'pgts.copy',
    ...(postgres.number >= 130000 ? ['backup_manifest', 'backup_manifest.tmp'] : []),
    ...(hasRecoverySignals(postgres) ? ['recovery.signal', 'standby.signal'] : ['recovery.conf', 'recovery.done']),
  ])
}

/** The kept, emptied directory inside the WAL directory of an online backup. */
export const ARCHIVE_STATUS = 'archive_status'

/** `pg_internal.init` and `pg_internal.init.<pid>`: caches, only in database directories. */
const RELATION_CACHE = /^pg_internal\.init(\.[0-9]+)?$/

/** `t3_16450`, `t3_16450_fsm.1`: temporary relations, which end with their session. */
const TEMPORARY_RELATION = /^t[0-9]+_[0-9]+(_(fsm|vm))?(\.[0-9]+)?$/

const RELATION = /^([0-9]+)(_(fsm|vm))?(\.[0-9]+)?$/

const INIT_FORK = /^([0-9]+)_init$/

/** Numbers of the unlogged relations in one database directory: those with an init fork. */
export function unloggedRelations(baseNames: Iterable<string>): ReadonlySet<string> {
  const relations = new Set<string>()
  for (const name of baseNames) {
    const relation = INIT_FORK.exec(name)?.[1]
    if (relation !== undefined) relations.add(relation)
  }
  return relations
}

/** True if this file of a database directory is excluded. Of an unlogged relation only the init fork is included. */
export function isExcludedRelationFile(baseName: string, unlogged: ReadonlySet<string>): boolean {
  if (RELATION_CACHE.test(baseName) || TEMPORARY_RELATION.test(baseName)) return true
  if (unlogged.size === 0) return false
  const relation = RELATION.exec(baseName)?.[1]
  return relation !== undefined && unlogged.has(relation)
}

const PAGELESS_FILES: ReadonlySet<string> = new Set(['PG_VERSION', 'pg_filenode.map', 'pg_control'])

/** True if this file of a database directory consists of data pages with checksums. */
export function hasDataPages(baseName: string, inGlobal: boolean): boolean {
  return !PAGELESS_FILES.has(baseName) || (baseName === 'pg_control' && !inGlobal)
}
