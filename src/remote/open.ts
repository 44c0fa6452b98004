import { callVerb } from './verb.ts'
import { choice, field, integer, list, name, optional, record, text, type TypeOf } from './fields.ts'

/** Members of a storage that not every one has. */
export const storageMembers = choice({ 'create-if-absent': 0, 'abort-uploads': 1, links: 2 })
export type StorageMember = TypeOf<typeof storageMembers>

/** The first request of a connection: what the serving process is asked to serve. */
export const openRequest = record({
  kind: field(1, choice({ repo: 0, pg: 1 })),
  command: field(2, text),
  stanza: optional(3, text),
  /** Number of the repository, or of the cluster at the serving end. */
  key: field(4, integer),
  /** Number of the connection; 0 is that of the main process, which takes the locks. */
  process: field(5, integer),
  execId: field(6, text),
  ioTimeoutMs: field(7, integer),
  protocolTimeoutMs: field(8, integer),
  /** Of a cluster. */
  pgPath: optional(9, name),
})
export type OpenRequest = TypeOf<typeof openRequest>

const openAnswer = record({
  /** Name of the serving host. */
  host: field(1, text),
  /** The storage or the data directory, for messages. */
  display: field(2, text),
  members: field(3, list(storageMembers)),
  parallel: optional(4, integer),
})
export type OpenAnswer = TypeOf<typeof openAnswer>

export const openVerb = callVerb('open', openRequest, openAnswer)
