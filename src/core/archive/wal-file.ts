import { digest } from '../../codec/digest.ts'
import { isBackupHistoryFile, isPartialSegment, isTimelineHistoryFile, isWalSegment } from '../../format/wal-segment.ts'
import type { ClusterEntry, ClusterFiles } from '../../postgres/cluster-access.ts'
import { bytesToText, type ByteString } from '../../util/byte-string.ts'
import { sourceOf, type ByteSource } from '../../util/bytes.ts'
import { PgtsError } from '../../util/error.ts'

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

/** A hashed file of pg_wal that is to be archived. */
export interface WalFile {
  readonly path: ByteString
  readonly sizeBytes: number
  /** The first bytes: at least a page header unless the file is shorter. */
  readonly head: Buffer
  /** SHA-1 of the content, lower-case hex. */
  readonly checksum: string
  /** The bytes. A large segment is read from disk a second time. */
  open(): Promise<ByteSource>
  /** Use the memory for another file. Only to be called when it is certain that nothing reads the bytes any more. */
  release(): void
}

/** Files up to this size are read once, into memory: every segment unless the segment size is larger. */
const IN_MEMORY_BYTES = 64 * 1024 * 1024
const CHUNK_BYTES = 1024 * 1024
const HEAD_BYTES = 512

/**
 * Free buffers of former segments: new memory costs a page fault for every 4 KiB, which takes longer than reading. One
 * thread pushes few files at once.
 */
const spare: Buffer[] = []
const MOST_SPARE = 2

function bufferOf(bytes: number): Buffer {
  const index = spare.findIndex((buffer) => buffer.length === bytes)
  return index < 0 ? Buffer.allocUnsafeSlow(bytes) : (spare.splice(index, 1)[0] as Buffer)
}

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

/** Receives the bytes of a file in order, while they are hashed. */
export type Watch = { push(chunk: Uint8Array): void }

/** @throws PgtsError file-missing; file-read when it is not a plain file */
export async function readWalFile(
  files: ClusterFiles,
  path: ByteString,
  watches: readonly (Watch | undefined)[] = [],
): Promise<WalFile> {
  const entry = await statWalFile(files, path)
  const watch: Watch = { push: (chunk) => watches.forEach((one) => one?.push(chunk)) }
  return entry.sizeBytes <= IN_MEMORY_BYTES
    ? readIntoMemory(files, path, entry.sizeBytes, watch)
    : hashLarge(files, path, watch)
}

async function readIntoMemory(
  files: ClusterFiles,
  path: ByteString,
  expectedBytes: number,
  watch: Watch,
): Promise<WalFile> {
  // One byte more than expected, so that the first read reaches the end of the file.
  const buffer = bufferOf(expectedBytes + 1)
  const parts: Buffer[] = []
  await using source = await openFile(files, path, buffer)
  for (let chunk = await source.next(); chunk !== undefined; chunk = await source.next()) {
    if (chunk.length === 0) continue
    // The source reads into `buffer`, so its next read may overwrite this chunk.
    parts.push(
      chunk.length === expectedBytes ? Buffer.from(chunk.buffer, chunk.byteOffset, chunk.length) : Buffer.from(chunk),
    )
    if (chunk.length === expectedBytes) break
  }
  const content = parts.length === 1 ? (parts[0] as Buffer) : Buffer.concat(parts)
  const hash = digest('sha1')
  hash.push(content)
  watch.push(content)
  return {
    path,
    sizeBytes: content.length,
    head: content.subarray(0, HEAD_BYTES),
    checksum: hash.hex(),
    open: () => Promise.resolve(sourceOf(content)),
    release() {
      spare.push(buffer)
      if (spare.length > MOST_SPARE) spare.shift()
    },
  }
}

async function hashLarge(files: ClusterFiles, path: ByteString, watch: Watch): Promise<WalFile> {
  const buffer = Buffer.allocUnsafeSlow(CHUNK_BYTES)
  const hash = digest('sha1')
  let head: Buffer | undefined
  {
    await using source = await openFile(files, path, buffer)
    for (let chunk = await source.next(); chunk !== undefined; chunk = await source.next()) {
      head ??= Buffer.from(chunk.subarray(0, HEAD_BYTES))
      hash.push(chunk)
      watch.push(chunk)
    }
  }
  const checksum = hash.hex()
  return {
    path,
    sizeBytes: hash.bytes,
    head: head ?? Buffer.alloc(0),
    checksum,
    open: async () => unchanged(await openFile(files, path, buffer), path, checksum),
    release: () => undefined,
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
