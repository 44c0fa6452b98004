import type { ByteSource } from '../util/bytes.ts'
import type { ByteString } from '../util/byte-string.ts'
import type { HostIdentity } from '../util/host-place.ts'
import type { Connection } from '../remote/connection.ts'
import type { HostDescription } from '../remote/host.ts'
import type { ServerConnection } from './client.ts'

/** The cluster of one pgN: its files, its server and facts of its host, on this host or another one. */
export interface ClusterAccess extends AsyncDisposable {
  /** 1 for pg1. */
  readonly key: number
  /** For messages: `pg1`, or `pg2 on host 'db2'`. */
  readonly display: string
  /** pgN-path, byte string. */
  readonly pgPath: ByteString
  readonly files: ClusterFiles
  /** Absent if the cluster is on this host. */
  readonly remote?: RemoteProcess
  /** Connects to the server. The caller closes the connection. */
  connect(options?: ConnectRequest): Promise<ServerConnection>
  /** The host of the cluster, as repositories record it. */
  hostIdentity(): Promise<HostIdentity>
  /** [044] if the cluster is a restored copy that must not archive into the stanza of the original. */
  refuseCopy(): Promise<void>
  /**
   * Why a segment was not archived, in lines.
   *
   * @param patienceMs how long the command has waited
   * @param server a connection of this cluster, which may be lost
   */
  explainWal(segment: string, options: WalRequest): Promise<readonly string[]>
}

/** The process that serves a cluster on another host. */
export interface RemoteProcess {
  /** From which workers open their own connections. */
  readonly description: HostDescription
  /** Of the main process. */
  readonly connection: Connection
}

export interface ConnectRequest {
  /** Byte string; default: pg-database. */
  readonly database?: ByteString
  /** Limit if db-timeout is too long. */
  readonly atMostMs?: number
  /** Closes the connection when aborted; default: the signal of the command. */
  readonly signal?: AbortSignal
  /** Variables of libpq; default: those of the process that connects. A server of another host uses those of its own host. */
  readonly env?: Readonly<Record<string, string | undefined>>
}

export interface WalRequest {
  readonly patienceMs: number
  readonly server?: ServerConnection
}

/** The lstat data of one entry of a cluster. Names and destinations are latin1 strings: one character is one byte. */
export interface ClusterEntry {
  /** Path relative to the root that was listed. */
  readonly name: ByteString
  readonly kind: 'file' | 'path' | 'link' | 'special'
  readonly sizeBytes: number
  /** Seconds since the epoch. */
  readonly mtime: number
  /** Permission bits. */
  readonly mode: number
  /** Names; `false` if the id has none. */
  readonly user: ByteString | false
  readonly group: ByteString | false
  /** For a link, the result of readlink. */
  readonly destination?: ByteString
  /** The kind of what a link names, not followed further; absent if it does not exist or cannot be examined. */
  readonly destinationKind?: ClusterEntry['kind']
}

/** The entries of a directory, sorted by name, which are examined one by one: there may be 100,000. */
export interface ClusterDirectory extends Iterable<ClusterEntry> {
  /** Also of entries that were removed since. */
  readonly names: readonly ByteString[]
}

export interface ForcedVersion {
  /** pg-version-force: read pg_control and WAL headers as those of this version (`15`), for forks of PostgreSQL. */
  readonly versionForce?: string
}

/** The files of a PostgreSQL cluster, on this host or another one. Paths are absolute latin1 strings. */
export interface ClusterFiles extends AsyncDisposable, ForcedVersion {
  /** For messages. */
  readonly display: string
  /** One directory, without '.' and '..'. undefined if the directory was removed. */
  list(path: string): Promise<ClusterDirectory | undefined>
  /** Announces that this directory and those in it are listed next; on another host they are requested ahead. */
  expectWalk?(path: ByteString): void
  /** lstat, or stat when `follow`; undefined when absent. `name` is the path itself. */
  stat(path: string, options?: { follow?: boolean }): Promise<ClusterEntry | undefined>
  /**
   * The bytes of a file, at most `maxBytes` of them; undefined if the file was removed. Chunks are up to `chunkBytes`,
   * in a buffer that is reused.
   */
  open(path: string, options: { maxBytes?: number; buffer: Buffer }): Promise<ClusterFileSource | undefined>
}

export interface ClusterFileSource extends ByteSource {
  /** Read `length` bytes at `offset` again, for a page that failed its checksum. */
  reread(offset: number, length: number): Promise<Buffer>
}

/** How a worker opens the same cluster; plain data. */
export type ClusterDescription =
  | ({
      readonly kind: 'local'
      /** The thread has other work, so a file that is read without waiting must let the event loop run. */
      readonly yields?: boolean
    } & ForcedVersion)
  /** Jobs that read its files run on its host. */
  | { readonly kind: 'remote'; readonly host: HostDescription }
