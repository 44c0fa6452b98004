import type { StorageDriver, StoredFile } from '../../storage/driver.ts'
import { asBytes, compareBytes, type ByteString } from '../../util/byte-string.ts'

export interface ListedFile {
  /** Relative to the listed path; '.' for the path itself. Byte string. */
  readonly name: ByteString
  readonly kind: StoredFile['kind']
  /** For a file. */
  readonly sizeBytes?: number
  readonly mtimeMs?: number
  /** For a link, byte string. */
  readonly destination?: ByteString
}

export interface ListRequest {
  readonly recurse: boolean
  readonly order: 'none' | 'asc' | 'desc'
  /** Applied to names relative to the listed path. */
  readonly filter?: RegExp
  readonly signal: AbortSignal
}

/**
 * Lists a file, or everything below a path. A path that does not exist is treated as empty, because object stores have
 * no paths. Without an order, entries are passed on as the storage returns them, without buffering.
 */
export async function* listRepository(
  storage: StorageDriver,
  name: string,
  { recurse, order, filter, signal }: ListRequest,
): AsyncIterable<ListedFile> {
  const itself = name === '' ? undefined : await storage.stat(name, { signal })
  if (itself?.kind === 'file') {
    if (filter === undefined || filter.test(name)) yield await described(storage, itself, asBytes('.'))
    return
  }
  if (filter === undefined || filter.test('.')) yield { name: asBytes('.'), kind: 'path' }
  const found = below(storage, name, recurse, signal)
  const wanted = (file: StoredFile) => filter === undefined || filter.test(relative(file.name, name))
  if (order === 'none') {
    for await (const file of found) if (wanted(file)) yield described(storage, file, relative(file.name, name))
    return
  }
  const files: StoredFile[] = []
  for await (const file of found) if (wanted(file)) files.push(file)
  files.sort((a, b) => (order === 'asc' ? compareBytes(a.name, b.name) : compareBytes(b.name, a.name)))
  for (const file of files) yield described(storage, file, relative(file.name, name))
}

/** Includes paths, which a recursive listing of a driver omits. */
async function* below(
  storage: StorageDriver,
  name: string,
  recurse: boolean,
  signal: AbortSignal,
): AsyncIterable<StoredFile> {
  for await (const entry of storage.list(name, { signal })) {
    yield entry
    if (recurse && entry.kind === 'path') yield* below(storage, entry.name, recurse, signal)
  }
}

function relative(name: ByteString, base: string): ByteString {
  return base === '' ? name : name.slice(base.length + 1)
}

async function described(storage: StorageDriver, file: StoredFile, name: ByteString): Promise<ListedFile> {
  const { kind, sizeBytes, mtimeMs } = file
  if (kind === 'file') return { name, kind, sizeBytes, mtimeMs }
  if (kind === 'path') return { name, kind }
  const destination = await storage.links?.readlink(file.name)
  return { name, kind, destination }
}
