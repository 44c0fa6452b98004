import {
  binary,
  bool,
  choice,
  field,
  integer,
  list,
  name,
  nothing,
  nullable,
  optional,
  real,
  record,
  type Schema,
} from '../../remote/fields.ts'
import { callVerb, downloadVerb, rowsVerb, uploadVerb } from '../../remote/verb.ts'
import type { StoredFile } from '../driver.ts'

/** The verbs of a storage: its driver calls them, the service of the other host answers them. */

const MOST_NAMES = 1000

const entry: Schema<StoredFile> = record({
  name: field(1, name),
  kind: field(2, choice({ file: 0, path: 1, link: 2 })),
  sizeBytes: field(3, integer),
  mtimeMs: field(4, real),
})
const named = record({ name: field(1, name) })
const found = record({ entry: field(1, nullable(entry)) })
const yes = record({ value: field(1, bool) })

export const statVerb = callVerb('stat', named, found)
export const listVerb = rowsVerb(
  'list',
  record({ prefix: field(1, name), recursive: field(2, bool), namesOnly: field(3, bool) }),
  nothing,
  entry,
)
export const readVerb = downloadVerb(
  'read',
  record({ name: field(1, name), offset: optional(2, integer), length: optional(3, integer) }),
  record({ sizeBytes: optional(1, integer) }),
)
export const createVerb = uploadVerb(
  'create',
  record({ name: field(1, name), unreferenced: field(2, bool) }),
  record({ deferSync: field(1, bool) }),
  nothing,
)
export const createIfAbsentVerb = callVerb(
  'create-if-absent',
  record({ name: field(1, name), bytes: field(2, binary) }),
  yes,
)
export const removeVerb = callVerb('remove', record({ names: field(1, list(name, MOST_NAMES)) }), nothing)
export const removeTreeVerb = callVerb('remove-tree', named, nothing)
export const abortUploadsVerb = callVerb(
  'abort-uploads',
  record({ prefix: field(1, name), beforeMs: field(2, real) }),
  record({ count: field(1, integer) }),
)
export const syncVerb = callVerb('sync', record({ prefix: field(1, name) }), nothing)
export const symlinkVerb = callVerb('symlink', record({ name: field(1, name), destination: field(2, name) }), nothing)
export const readlinkVerb = callVerb('readlink', named, record({ destination: field(1, nullable(name)) }))
export const makePathVerb = callVerb('make-path', named, nothing)

/** The names in parts that one request may have. */
export function* partsOf<T>(names: readonly T[]): Generator<readonly T[]> {
  for (let at = 0; at < names.length; at += MOST_NAMES) yield names.slice(at, at + MOST_NAMES)
}
