import {
  any,
  bool,
  byteString,
  choice,
  field,
  integer,
  list,
  name,
  nothing,
  nullable,
  optional,
  record,
  text,
  type TypeOf,
} from '../../remote/fields.ts'
import type { Value } from '../../remote/value.ts'
import { callVerb, downloadVerb, rowsVerb } from '../../remote/verb.ts'
import { PgtsError } from '../../util/error.ts'
import type { ClusterEntry } from '../cluster-access.ts'

/** The verbs of a cluster: `RemoteCluster` calls them, the service on the host of the cluster answers them. */

const kind = choice({ file: 0, path: 1, link: 2, special: 3 })
const owner = nullable(name)

/** A `ClusterEntry`; null is an owner without a name. */
const entry = record({
  name: field(1, name),
  kind: field(2, kind),
  sizeBytes: field(3, integer),
  mtime: field(4, integer),
  mode: field(5, integer),
  user: field(6, owner),
  group: field(7, owner),
  destination: optional(8, name),
  destinationKind: optional(9, kind),
})

/** An entry of a directory, or a name that was removed while it was examined. */
const item = record({ removed: optional(1, name), entry: optional(2, entry) })
export type SentItem = TypeOf<typeof item>

export const pgListVerb = rowsVerb(
  'pg-list',
  record({ path: field(1, name) }),
  record({ exists: field(1, bool) }),
  item,
)
export const pgStatVerb = callVerb(
  'pg-stat',
  record({ path: field(1, name), follow: field(2, bool) }),
  record({ entry: optional(1, entry) }),
)
export const pgReadVerb = downloadVerb(
  'pg-read',
  record({ path: field(1, name), offset: field(2, integer), maxBytes: optional(3, integer) }),
  record({ exists: field(1, bool) }),
)

export const pgHostVerb = callVerb('pg-host', nothing, record({ id: field(1, text), name: field(2, text) }))
export const pgCopyVerb = callVerb('pg-copy', nothing, nothing)
export const pgWalVerb = callVerb(
  'pg-wal',
  record({ segment: field(1, text), patienceMs: field(2, integer), session: optional(3, integer) }),
  record({ lines: field(1, list(text)) }),
)

/** `ServerFacts`; the rest of `postgres` follows from the number of the version. */
const serverFacts = record({
  versionNum: field(1, integer),
  dataDirectory: field(2, name),
  archiveMode: field(3, choice({ off: 0, on: 1, always: 2 })),
  archiveCommand: field(4, byteString),
  archiveLibrary: field(5, text),
  archiveTimeoutMs: field(6, integer),
  checkpointTimeoutMs: field(7, integer),
  walSegmentSize: field(8, integer),
  inRecovery: field(9, bool),
})

export const dbOpenVerb = callVerb(
  'db-open',
  record({ database: optional(1, byteString), atMostMs: optional(2, integer) }),
  record({ session: field(1, integer), facts: field(2, serverFacts) }),
)
export const dbQueryVerb = callVerb(
  'db-query',
  record({
    session: field(1, integer),
    sql: field(2, text),
    values: field(3, list(any)),
    timeoutMs: optional(4, integer),
    lists: field(5, bool),
  }),
  // Values are null, boolean, number, text or bytes. With `lists` there are no columns.
  record({ columns: field(1, list(text)), rows: field(2, list(list(any))) }),
)
export const dbCloseVerb = callVerb('db-close', record({ session: field(1, integer) }), nothing)

/** A value of a statement or of its result, as it is sent. Statements convert values of other types to text. */
export function sentValue(value: unknown): Value {
  if (value === null || value === undefined) return null
  if (value instanceof Uint8Array) return value
  if (typeof value === 'boolean' || typeof value === 'number' || typeof value === 'string') return value
  throw new PgtsError('assert', `a value of type ${typeof value} cannot be sent to another host`)
}

export function sentEntry({ user, group, ...found }: ClusterEntry): TypeOf<typeof entry> {
  return { ...found, user: user === false ? null : user, group: group === false ? null : group }
}

export function entryOf({ user, group, ...sent }: TypeOf<typeof entry>): ClusterEntry {
  return { ...sent, user: user ?? false, group: group ?? false }
}
