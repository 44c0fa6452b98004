import type { ClusterAccess, ClusterDirectory, ClusterFileSource } from '../../postgres/cluster-access.ts'
import {
  pgCopyVerb,
  pgHostVerb,
  pgListVerb,
  pgReadVerb,
  pgStatVerb,
  pgWalVerb,
  sentEntry,
  type SentItem,
} from '../../postgres/remote/verbs.ts'
import type { Handler } from '../../remote/connection.ts'
import { onCall, onDownload, onRows } from '../../remote/handlers.ts'
import { sourceOf, type ByteSource } from '../../util/bytes.ts'
import { assertBelow } from './cluster-paths.ts'
import { DatabaseSessions } from './database-sessions.ts'

const CHUNK_BYTES = 256 * 1024

/** What a command on another host may ask of a cluster of this host; disposing it ends the sessions of its server. */
export interface ClusterService extends AsyncDisposable {
  readonly handlers: readonly Handler[]
  /** A session of the server is open. */
  readonly isBusy: boolean
}

/** @param cluster a cluster of this host, which stays open */
export function clusterService(cluster: ClusterAccess): ClusterService {
  const sessions = new DatabaseSessions(cluster)
  return {
    handlers: [...fileVerbs(cluster), ...factVerbs(cluster, sessions), ...sessions.verbs()],
    get isBusy() {
      return sessions.count > 0
    },
    [Symbol.asyncDispose]: () => sessions[Symbol.asyncDispose](),
  }
}

function fileVerbs({ files, pgPath }: ClusterAccess): Handler[] {
  return [
    onRows(pgListVerb, async ({ path }) => {
      assertBelow(pgPath, path)
      const directory = await files.list(path)
      return { answer: { exists: directory !== undefined }, rows: directory === undefined ? [] : itemsOf(directory) }
    }),
    onCall(pgStatVerb, async ({ path, follow }) => {
      assertBelow(pgPath, path)
      const entry = await files.stat(path, { follow })
      return { entry: entry === undefined ? undefined : sentEntry(entry) }
    }),
    onDownload(pgReadVerb, async ({ path, offset, maxBytes }) => {
      assertBelow(pgPath, path)
      const buffer = Buffer.allocUnsafeSlow(Math.min(CHUNK_BYTES, maxBytes ?? CHUNK_BYTES))
      const source = await files.open(path, { maxBytes, buffer })
      if (source === undefined) return { answer: { exists: false }, body: sourceOf() }
      return { answer: { exists: true }, body: offset === 0 ? source : rangeOf(source, offset, maxBytes) }
    }),
  ]
}

function* itemsOf(directory: ClusterDirectory): Generator<SentItem> {
  const left = new Set(directory.names)
  for (const entry of directory) {
    left.delete(entry.name)
    yield { entry: sentEntry(entry) }
  }
  for (const removed of left) yield { removed }
}

/** At most one chunk: a page that is read again. */
function rangeOf(source: ClusterFileSource, offset: number, maxBytes = CHUNK_BYTES): ByteSource {
  let isRead = false
  return {
    async next() {
      if (isRead) return undefined
      isRead = true
      const bytes = await source.reread(offset, Math.min(maxBytes, CHUNK_BYTES))
      return bytes.length === 0 ? undefined : bytes
    },
    [Symbol.asyncDispose]: () => source[Symbol.asyncDispose](),
  }
}

function factVerbs(cluster: ClusterAccess, sessions: DatabaseSessions): Handler[] {
  return [
    onCall(pgHostVerb, () => cluster.hostIdentity()),
    onCall(pgCopyVerb, async () => {
      await cluster.refuseCopy()
      return {}
    }),
    onCall(pgWalVerb, async ({ segment, patienceMs, session }) => {
      const server = session === undefined ? undefined : sessions.find(session)
      return { lines: await cluster.explainWal(segment, { patienceMs, server }) }
    }),
  ]
}
