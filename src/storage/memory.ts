import { randomUUID } from 'node:crypto'
import { sourceOf, type ByteSource } from '../util/bytes.ts'
import { asBytes, bytes, bytesToText, type ByteString } from '../util/byte-string.ts'
import { PgtsError } from '../util/error.ts'
import type {
  ByteRange,
  Cancellable,
  CreateOptions,
  ListOptions,
  PendingFile,
  StorageDriver,
  StoredFile,
} from './driver.ts'
import type { StorageDescription } from './description.ts'
import { assertName, assertPrefix, missingFile } from './name.ts'

interface MemoryFile {
  readonly bytes: Buffer
  readonly mtimeMs: number
}

export interface MemoryStorage extends StorageDriver {
  readonly id: string
  readonly description: StorageDescription
  /** All files by name, for tests that inspect or change bytes. */
  readonly files: Map<string, MemoryFile>
}

/** Storages by id: opening a description again gives the same files. */
const storages = new Map<string, Map<string, MemoryFile>>()

/**
 * A repository in this process, for tests. It behaves like an object store: paths exist while something is below them,
 * and there are no links. Opening an id again gives the same files; disposal keeps them.
 */
export function memoryStorage(id: string = randomUUID()): MemoryStorage {
  const files = storages.get(id) ?? new Map<string, MemoryFile>()
  storages.set(id, files)
  return {
    id,
    description: { kind: 'memory', id },
    files,
    display: `memory:${id}`,
    stat: async (name, options) => stat(files, asBytes(name), options),
    list: (prefix, options) => {
      assertPrefix(prefix)
      return list(files, prefix, options)
    },
    read: async (name, range = {}) => read(`memory:${id}/${bytesToText(asBytes(name))}`, files, name, range),
    create: async (name, options) => create(files, name, options),
    createIfAbsent: async (name, bytes, options) => {
      assertName(name)
      options?.signal?.throwIfAborted()
      if (files.has(name)) return false
      files.set(name, { bytes: Buffer.from(bytes), mtimeMs: Date.now() })
      return true
    },
    remove: async (name, options) => {
      assertName(name)
      options?.signal?.throwIfAborted()
      files.delete(name)
    },
    removeTree: async (prefix, options) => {
      assertName(prefix)
      options?.signal?.throwIfAborted()
      for (const name of [...files.keys()]) if (name === prefix || name.startsWith(`${prefix}/`)) files.delete(name)
    },
    sync: async (prefix, options) => {
      assertPrefix(prefix)
      options?.signal?.throwIfAborted()
    },
    [Symbol.asyncDispose]: async () => undefined,
  }
}

function stat(files: Map<string, MemoryFile>, name: ByteString, options?: Cancellable): StoredFile | undefined {
  assertPrefix(name)
  options?.signal?.throwIfAborted()
  const file = files.get(name)
  if (file !== undefined) return { name, kind: 'file', sizeBytes: file.bytes.length, mtimeMs: file.mtimeMs }
  const below = name === '' ? '' : bytes`${name}/`
  for (const [other, { mtimeMs }] of files)
    if (other.startsWith(below)) return { name, kind: 'path', sizeBytes: 0, mtimeMs }
  return undefined
}

async function* list(
  files: Map<string, MemoryFile>,
  prefix: string,
  options: ListOptions = {},
): AsyncGenerator<StoredFile> {
  const below = prefix === '' ? '' : `${prefix}/`
  const paths = new Set<string>()
  for (const [name, file] of [...files]) {
    options.signal?.throwIfAborted()
    if (!name.startsWith(below)) continue
    const slash = options.recursive === true ? -1 : name.indexOf('/', below.length)
    const shown = slash === -1 ? name : name.slice(0, slash)
    if (slash === -1) yield { name: asBytes(name), kind: 'file', sizeBytes: file.bytes.length, mtimeMs: file.mtimeMs }
    else if (!paths.has(shown)) yield { name: asBytes(shown), kind: 'path', sizeBytes: 0, mtimeMs: file.mtimeMs }
    paths.add(shown)
  }
}

function read(shown: string, files: Map<string, MemoryFile>, name: string, range: ByteRange & Cancellable): ByteSource {
  assertName(name)
  range.signal?.throwIfAborted()
  const file = files.get(name)
  if (file === undefined) throw missingFile(shown)
  const offset = range.offset ?? 0
  const end = range.length === undefined ? file.bytes.length : offset + range.length
  const source = sourceOf(...chunksOf(file.bytes.subarray(offset, end)))
  return {
    next: () => {
      range.signal?.throwIfAborted()
      const chunk = source.next()
      if (chunk === undefined && end > file.bytes.length && end > offset) {
        throw new PgtsError(
          'file-read',
          `${name} ends ${end - file.bytes.length} bytes before the end of the requested range`,
        )
      }
      return chunk
    },
    [Symbol.asyncDispose]: async () => undefined,
  }
}

/** Small chunks, so that a consumer fails in a test if it expects everything in one chunk. */
function chunksOf(bytes: Buffer): Buffer[] {
  const chunks: Buffer[] = []
  for (let at = 0; at < bytes.length; at += CHUNK_BYTES) chunks.push(Buffer.from(bytes.subarray(at, at + CHUNK_BYTES)))
  return chunks
}
const CHUNK_BYTES = 64 * 1024

function create(files: Map<string, MemoryFile>, name: string, options: CreateOptions = {}): PendingFile {
  assertName(name)
  options.signal?.throwIfAborted()
  const chunks: Buffer[] = []
  let open = true
  const assertOpen = () => {
    if (!open)
      throw new PgtsError('assert', `${bytesToText(asBytes(name))} is written after it was committed or discarded`)
    options.signal?.throwIfAborted()
  }
  return {
    sink: {
      write: (chunk) => {
        assertOpen()
        chunks.push(Buffer.from(chunk))
      },
    },
    commit: async () => {
      assertOpen()
      open = false
      files.set(name, { bytes: Buffer.concat(chunks), mtimeMs: Date.now() })
    },
    [Symbol.asyncDispose]: async () => {
      open = false
    },
  }
}
