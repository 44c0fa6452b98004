import type { Connection } from '../../remote/connection.ts'
import type { ByteString } from '../../util/byte-string.ts'
import type { HostIdentity } from '../../util/host-place.ts'
import type { ServerConnection } from '../client.ts'
import type {
  ClusterAccess,
  ClusterFiles,
  ConnectRequest,
  ForcedVersion,
  RemoteProcess,
  WalRequest,
} from '../cluster-access.ts'
import { RemoteFiles } from './files.ts'
import { RemoteServer } from './server.ts'
import { pgCopyVerb, pgHostVerb, pgWalVerb } from './verbs.ts'

export interface RemoteClusterOptions extends ForcedVersion {
  /** 1 for pg1. */
  readonly key: number
  readonly pgPath: ByteString
  readonly remote: RemoteProcess
  /** Locks of its host, released first. */
  readonly locks?: AsyncDisposable
  readonly signal: AbortSignal
}

/** A cluster on another host. Disposing it closes the connection, which ends its sessions and releases its locks. */
export class RemoteCluster implements ClusterAccess {
  readonly key: number
  readonly display: string
  readonly pgPath: ByteString
  readonly remote: RemoteProcess
  readonly files: ClusterFiles
  readonly #connection: Connection
  readonly #locks: AsyncDisposable | undefined
  readonly #signal: AbortSignal

  constructor({ key, pgPath, remote, locks, signal, versionForce }: RemoteClusterOptions) {
    const { connection, description } = remote
    this.key = key
    this.display = `pg${key} on host '${description.host}'`
    this.pgPath = pgPath
    this.remote = remote
    this.files = new RemoteFiles(connection, description.host, signal, versionForce)
    this.#connection = connection
    this.#locks = locks
    this.#signal = signal
  }

  connect({ database, atMostMs, signal = this.#signal }: ConnectRequest = {}): Promise<ServerConnection> {
    return RemoteServer.open(this.#connection, { database, atMostMs }, signal)
  }

  hostIdentity(): Promise<HostIdentity> {
    return this.#connection.call(pgHostVerb, {}, { signal: this.#signal })
  }

  async refuseCopy(): Promise<void> {
    await this.#connection.call(pgCopyVerb, {}, { signal: this.#signal })
  }

  async explainWal(segment: string, { patienceMs, server }: WalRequest): Promise<readonly string[]> {
    const session = server instanceof RemoteServer ? server.session : undefined
    const { lines } = await this.#connection.call(pgWalVerb, { segment, patienceMs, session }, { signal: this.#signal })
    return lines
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#locks?.[Symbol.asyncDispose]()
    await this.#connection[Symbol.asyncDispose]()
  }
}
