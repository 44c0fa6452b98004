import type { Manifest } from '../../format/manifest.ts'
import { bytesToText, compareBytes, type ByteString } from '../../util/byte-string.ts'
import { PgtsError } from '../../util/error.ts'

/** Databases selected by the user, each by name or oid; byte strings. */
export interface DatabaseChoice {
  /** If not empty, all other user databases are restored as zeroed files. */
  readonly include: readonly ByteString[]
  readonly exclude: readonly ByteString[]
}

/** Databases whose files are restored with their length but without content, as sparse files. */
export interface Selection {
  /** Oids in ascending order. */
  readonly zeroed: readonly number[]
  /** For messages: `sales (16402)`. */
  readonly shown: readonly string[]
  isZeroed(fileName: string): boolean
}

/** First oid of user-created databases and other objects. */
const FIRST_USER_OID = 16384
const SYSTEM_DATABASES: ReadonlySet<string> = new Set(['template0', 'template1', 'postgres'])

/**
 * Selects the databases to restore as zeroed files. `PG_VERSION` of a zeroed database keeps its content, so that the
 * server accepts the directory: the database cannot be used, but it can be dropped.
 *
 * @returns undefined if all databases are selected
 * @throws PgtsError db-missing for a database that is not in the backup; db-invalid for one that is both included and
 * excluded, or for a system database to include: those are always restored
 */
export function selectDatabases(manifest: Manifest, choice: DatabaseChoice): Selection | undefined {
  if (choice.include.length === 0 && choice.exclude.length === 0) return undefined
  const { version, catalogVersion } = manifest.db
  const inTablespace = `pg_tblspc/[0-9]+/PG_${version.replaceAll('.', '\\.')}_${catalogVersion}`
  const place = new RegExp(`^(?:pg_data/base|${inTablespace})/([0-9]+)/([^/]+)`)
  const known = knownDatabases(manifest, place)
  if (known.size === 0) {
    throw new PgtsError('format', `backup ${manifest.label} has no databases to select from`, {
      hints: ['check that this is the backup of a complete cluster'],
    })
  }
  const find = (name: ByteString, option: string) => findDatabase(manifest, known, name, option)
  const excluded = new Set(choice.exclude.map((name) => find(name, 'db-exclude')))
  const included = new Set(choice.include.map((name) => find(name, 'db-include')))
  for (const oid of included) {
    const { shown, system } = known.get(oid)!
    if (system) {
      throw new PgtsError('db-invalid', `db-include names the system database ${shown}, which is always restored`, {
        hints: ['remove it from db-include'],
      })
    }
    if (excluded.has(oid)) {
      throw new PgtsError('db-invalid', `database ${shown} is in both db-include and db-exclude`)
    }
  }

  const zeroed = new Set(
    included.size === 0
      ? excluded
      : [...known]
          .filter(([oid, { system }]) => !included.has(oid) && (!system || excluded.has(oid)))
          .map(([oid]) => oid),
  )
  if (zeroed.size === 0) return undefined
  const oids = [...zeroed].sort((a, b) => a - b)
  return {
    zeroed: oids,
    shown: oids.map((oid) => known.get(oid)!.shown),
    isZeroed(fileName) {
      const parts = place.exec(fileName)
      return parts !== null && zeroed.has(Number(parts[1])) && !fileName.endsWith('/PG_VERSION')
    },
  }
}

interface KnownDatabase {
  readonly shown: string
  readonly system: boolean
}

/** Databases with a directory in the backup, and all system databases. */
function knownDatabases(manifest: Manifest, place: RegExp): Map<number, KnownDatabase> {
  const known = new Map<number, KnownDatabase>()
  const names = new Map(manifest.databases.map(({ oid, name }) => [oid, name]))
  const add = (oid: number) => {
    const name = names.get(oid)
    known.set(oid, {
      shown: name === undefined ? String(oid) : `${bytesToText(name)} (${oid})`,
      system: oid < FIRST_USER_OID || (name !== undefined && SYSTEM_DATABASES.has(name)),
    })
  }
  for (const { oid, name } of manifest.databases) if (oid < FIRST_USER_OID || SYSTEM_DATABASES.has(name)) add(oid)
  for (const { name } of manifest.files) {
    const parts = place.exec(name)
    if (parts?.[2] === 'PG_VERSION' && !known.has(Number(parts[1]))) add(Number(parts[1]))
  }
  return known
}

/** An oid takes precedence over a name, because a database may be called `16402`. */
function findDatabase(
  manifest: Manifest,
  known: ReadonlyMap<number, KnownDatabase>,
  name: ByteString,
  option: string,
): number {
  if (/^[1-9][0-9]*$/.test(name) && known.has(Number(name))) return Number(name)
  const listed = manifest.databases.find((database) => database.name === name)
  if (listed !== undefined && known.has(listed.oid)) return listed.oid
  const all = [...known.values()].map(({ shown }) => shown).sort(compareBytes)
  throw new PgtsError('db-missing', `database '${bytesToText(name)}' of ${option} is not in backup ${manifest.label}`, {
    hints: [
      `databases of this backup: ${all.join(', ')}`,
      ...(manifest.databases.length === 0
        ? ['use oids: an offline backup does not contain the names of databases']
        : []),
    ],
  })
}
