import { connectServer, type ServerConnection } from '../../postgres/client.ts'
import type {
  ClusterAccess,
  ClusterFiles,
  ConnectRequest,
  ForcedVersion,
  WalRequest,
} from '../../postgres/cluster-access.ts'
import { localFiles } from '../../postgres/local-files.ts'
import type { ConnectionOptions } from '../../postgres/open-client.ts'
import type { ByteString } from '../../util/byte-string.ts'
import { decodeUtf8 } from '../../util/byte-string.ts'
import type { Clock } from '../../util/clock.ts'
import { hostIdentity, type HostIdentity } from '../../util/host-place.ts'
import { loadModule } from '../../util/load-module.ts'
import type { ArchivingPlace } from '../archive/status/archiving-facts.ts'
import type { CopyCheck } from '../cluster-copy/copy-mark.ts'
import { refuseCopyIn } from '../cluster-copy/refuse-copy.ts'

/** A cluster of this host, and the stanza that it is used for. */
export interface LocalClusterOptions extends ArchivingPlace, CopyCheck, ForcedVersion {
  /** 1 for pg1. */
  readonly key: number
  readonly server: Pick<ConnectionOptions, 'port' | 'socketPath' | 'database' | 'user' | 'timeoutMs'>
  readonly clock: Clock
}

export function localCluster(options: LocalClusterOptions): ClusterAccess {
  return new LocalCluster(options)
}

class LocalCluster implements ClusterAccess {
  readonly files: ClusterFiles
  readonly #options: LocalClusterOptions

  constructor(options: LocalClusterOptions) {
    this.#options = options
    this.files = localFiles(options)
  }

  get key(): number {
    return this.#options.key
  }

  get display(): string {
    return `pg${this.#options.key}`
  }

  get pgPath(): ByteString {
    return this.#options.pgPath
  }

  connect(request: ConnectRequest = {}): Promise<ServerConnection> {
    const { server, pgPath, command, env, signal } = this.#options
    return connectServer({
      ...server,
      database: request.database === undefined ? server.database : decodeUtf8(request.database),
      dataDirectory: pgPath,
      command,
      env: request.env ?? env,
      timeoutMs: Math.min(server.timeoutMs, request.atMostMs ?? Infinity),
      signal: request.signal ?? signal,
    })
  }

  async hostIdentity(): Promise<HostIdentity> {
    return hostIdentity()
  }

  refuseCopy(): Promise<void> {
    return refuseCopyIn(this.#options, [this.#options.pgPath])
  }

  async explainWal(segment: string, request: WalRequest): Promise<readonly string[]> {
    const { explainWal } = await loadModule(() => import('../archive/status/explain-wal.ts'))
    return explainWal(this.#options, segment, { ...request, nowMs: this.#options.clock.nowMs() })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.files[Symbol.asyncDispose]()
  }
}
