import { digest } from '../../codec/digest.ts'
import { HeadTap } from '../../codec/head.ts'
import { pump } from '../../codec/pump.ts'
import type { Stage } from '../../codec/stage.ts'
import { isBackupHistoryFile, isPartialSegment, isTimelineHistoryFile, isWalSegment } from '../../format/wal-segment.ts'
import type { ClusterEntry, ClusterFiles } from '../../postgres/cluster-access.ts'
import { bytesToText, type ByteString } from '../../util/byte-string.ts'
import { readAll, sourceOf, type ByteSink, type ByteSource } from '../../util/bytes.ts'
import { PgtsError } from '../../util/error.ts'
import { onIdle } from '../../util/idle-memory.ts'
import { KeptBytes } from './kept-bytes.ts'

/** Files that PostgreSQL archives. Segments are checked, hashed and compressed; history files are stored as they are. */
export type WalFileKind = 'segment' | 'partial' | 'timeline-history' | 'backup-history'

/** @param name byte string; @throws PgtsError param-invalid for a name that PostgreSQL does not archive */
export function walFileKind(name: ByteString): WalFileKind {
  if (isWalSegment(name)) return 'segment'
  if (isPartialSegment(name)) return 'partial'
  if (isTimelineHistoryFile(name)) return 'timeline-history'
  if (isBackupHistoryFile(name)) return 'backup-history'
  throw new PgtsError(
    'param-invalid',
    `'${bytesToText(name)}' is not the name of a WAL segment or of another file that PostgreSQL archives`,
    {
      hints: [
        'archive_command passes %p (the path), restore_command passes %f (the name) and then %p',
        'a segment is named by 24 hex digits in upper case, for example 000000010000000000000001',
      ],
    },
  )
}

/** A file of pg_wal that was read and hashed. */
export interface WalFile {
  readonly path: ByteString
  readonly sizeBytes: number
  /** The first bytes: at least a page header unless the file is shorter. */
  readonly head: Buffer
  /** SHA-1 of the content, lower-case hex. */
  readonly checksum: string
  /** Writes the compressed content. A large segment is read from disk a second time. */
  writeTo(sink: ByteSink, signal: AbortSignal): Promise<void>
  /** Use the memory for another file. Only to be called when it is certain that nothing reads the bytes any more. */
  release(): void
}

/** Files up to this size are read once: every segment unless the segment size is larger. */
const IN_MEMORY_BYTES = 64 * 1024 * 1024
const CHUNK_BYTES = 1024 * 1024
const HEAD_BYTES = 512
/** History files are seldom longer. */
const HISTORY_BYTES = 8192

/** @throws PgtsError file-missing; file-read when it is not a plain file */
export async function statWalFile(files: ClusterFiles, path: ByteString): Promise<ClusterEntry> {
  const entry = await files.stat(path, { follow: true })
  if (entry === undefined) throw missing(path)
  if (entry.kind !== 'file') {
    const why = entry.kind === 'path' ? '[21] Is a directory' : 'it is not a plain file'
    throw new PgtsError('file-read', `unable to read '${bytesToText(path)}': ${why}`, { hints: [PATH_HINT] })
  }
  return entry
}

/** The content of a history file. @throws PgtsError as statWalFile */
export async function readHistory(files: ClusterFiles, path: ByteString): Promise<Buffer> {
  await statWalFile(files, path)
  return readAll(await openFile(files, path, Buffer.allocUnsafe(HISTORY_BYTES)))
}

/** Receives the bytes of a file in order, while they are hashed. */
export type Watch = { push(chunk: Uint8Array): void }

export interface ReadOptions {
  readonly watches?: readonly (Watch | undefined)[]
  readonly compression: Compressing
  readonly signal: AbortSignal
}

export interface Compressing {
  /** @param contentBytes the size of a file that is one chunk */
  stages(contentBytes?: number): readonly Stage[]
  /** Files up to this size are faster to compress as one chunk. */
  readonly oneCallBytes: number
}

/** Free buffers: one for each file that a thread reads at a time. */
const pieces: Buffer[] = []
onIdle(() => (pieces.length = 0))

/**
 * Read a file once, in pieces that are hashed, checked and compressed while they are in the cache of the processor. Only what
 * is stored is kept in memory; of a file that is compressed in one call, the content.
 *
 * @throws PgtsError file-missing; file-read when it is not a plain file
 */
export async function readWalFile(
  files: ClusterFiles,
  path: ByteString,
  { watches = [], compression: { stages, oneCallBytes }, signal }: ReadOptions,
): Promise<WalFile> {
  const { sizeBytes } = await statWalFile(files, path)
  const hash = digest('sha1')
  const head = new HeadTap(HEAD_BYTES)
  const watch: Watch = { push: (chunk) => watches.forEach((one) => one?.push(chunk)) }
  const buffer = pieces.pop() ?? Buffer.allocUnsafeSlow(CHUNK_BYTES)
  const read = async (compression: readonly Stage[], sink: ByteSink) =>
    pump(await openFile(files, path, buffer), [head, hash, tapOf(watch), ...compression], sink, signal)
  const facts = () => ({ path, sizeBytes: hash.bytes, head: head.bytes, checksum: hash.hex() })
  if (sizeBytes > IN_MEMORY_BYTES) {
    await read([], { write: () => undefined })
    const { checksum } = facts()
    const again = async () => unchanged(await openFile(files, path, buffer), path, checksum)
    return {
      ...facts(),
      writeTo: async (sink, cancel) => pump(await again(), stages(), sink, cancel),
      release: () => undefined,
    }
  }
  const kept = new KeptBytes(sizeBytes)
  const inOneCall = sizeBytes <= oneCallBytes
  await read(inOneCall ? [] : stages(), kept)
  pieces.push(buffer)
  return {
    ...facts(),
    writeTo: async (sink, cancel) =>
      pump(sourceOf(kept.bytes), inOneCall ? stages(kept.bytes.length) : [], sink, cancel),
    release: () => kept.release(),
  }
}

function tapOf(watch: Watch): Stage {
  return {
    push(chunk) {
      watch.push(chunk)
      return [chunk]
    },
    finish: () => [],
  }
}

/** Fails at the end if the content has changed since it was hashed: it must not be stored under that checksum. */
function unchanged(source: ByteSource, path: ByteString, checksum: string): ByteSource {
  const hash = digest('sha1')
  const check = (chunk: Uint8Array | undefined): Uint8Array | undefined => {
    if (chunk !== undefined) hash.push(chunk)
    else if (hash.hex() !== checksum)
      throw new PgtsError('file-read', `${bytesToText(path)} changed while it was being archived`)
    return chunk
  }
  return {
    next() {
      const answer = source.next()
      return answer instanceof Promise ? answer.then(check) : check(answer)
    },
    [Symbol.asyncDispose]: () => source[Symbol.asyncDispose](),
  }
}

async function openFile(files: ClusterFiles, path: ByteString, buffer: Buffer): Promise<ByteSource> {
  const source = await files.open(path, { buffer })
  if (source === undefined) throw missing(path)
  return source
}

function missing(path: ByteString): PgtsError {
  return new PgtsError(
    'file-missing',
    `unable to open missing file '${bytesToText(path)}' for read: the WAL file does not exist`,
    {
      hints: [PATH_HINT],
    },
  )
}

const PATH_HINT = 'archive_command must pass %p, which is the path of the file from the data directory'
