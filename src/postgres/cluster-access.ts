import type { ByteSource } from '../util/bytes.ts'
import type { ByteString } from '../util/byte-string.ts'

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
}

/** The entries of a directory, sorted by name, which are examined one by one: there may be 100,000. */
export interface ClusterDirectory extends Iterable<ClusterEntry> {
  /** Also of entries that were removed since. */
  readonly names: readonly ByteString[]
}

/**
 * The files of a PostgreSQL cluster. The engine reads PGDATA only through this interface, so that a cluster on another
 * host can be added without changing the engine. Paths are absolute latin1 strings.
 */
export interface ClusterFiles extends AsyncDisposable {
  /** For messages. */
  readonly display: string
  /** One directory, without '.' and '..'. undefined if the directory was removed. */
  list(path: string): Promise<ClusterDirectory | undefined>
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
export type ClusterDescription = { readonly kind: 'local' }
