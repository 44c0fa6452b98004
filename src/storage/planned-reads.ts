import { setMaxListeners } from 'node:events'
import { sourceOf, type ByteSource } from '../util/bytes.ts'
import type { ByteRange, Cancellable, PartReading, StorageDriver } from './driver.ts'
import { markHandled } from '../util/mark-handled.ts'

/** A future read. Bytes. */
export interface WantedRange {
  readonly name: string
  readonly offset: number
  readonly length: number
}

/** For a storage without settings of its own. */
const READING: PartReading = { ahead: 16, gapBytes: 64 * 1024 }
/** Larger ranges are left to the driver, which reads ahead itself; joined ranges are not larger than this. */
const MOST_BYTES = 4 * 1024 * 1024
/** Maximum number of bytes that are read ahead. */
const AHEAD_BYTES = 4 * 1024 * 1024

/** A storage that knows the next reads. */
export interface PlannedReads extends AsyncDisposable {
  readonly storage: StorageDriver
}

/**
 * Fetches future reads in few requests, several of them ahead, and serves `read` from the results. For a storage whose
 * calls return at once (`parallel` is absent) it returns the storage itself.
 *
 * @param wanted in the order of reading; any other read is passed to the storage
 */
export function plannedReads(
  storage: StorageDriver,
  wanted: readonly WantedRange[],
  signal: AbortSignal,
): PlannedReads {
  if (storage.parallel === undefined || wanted.length === 0) {
    return { storage, [Symbol.asyncDispose]: async () => undefined }
  }
  const reading = storage.reading ?? READING
  const ahead = new Ahead(storage, grouped(wanted, reading.gapBytes), reading.ahead, signal)
  const planned: StorageDriver = {
    display: storage.display,
    parallel: storage.parallel,
    stat: (name, options) => storage.stat(name, options),
    list: (prefix, options) => storage.list(prefix, options),
    read: (name, range) => ahead.read(name, range),
    create: (name, options) => storage.create(name, options),
    remove: (name, options) => storage.remove(name, options),
    removeTree: (prefix, options) => storage.removeTree(prefix, options),
    sync: (prefix, options) => storage.sync(prefix, options),
    [Symbol.asyncDispose]: async () => undefined,
  }
  return { storage: planned, [Symbol.asyncDispose]: () => ahead.end() }
}

interface Group extends WantedRange {
  bytes?: Promise<Buffer>
}

/** Ranges that are adjacent in the order of reading and in their file become one group. */
function grouped(wanted: readonly WantedRange[], gapBytes: number): Group[] {
  const groups: Group[] = []
  for (const { name, offset, length } of wanted) {
    if (offset < 0 || length <= 0 || length > MOST_BYTES) continue
    const last = groups.at(-1)
    const end = last === undefined ? 0 : last.offset + last.length
    const joins =
      last?.name === name &&
      offset >= last.offset &&
      offset <= end + gapBytes &&
      Math.max(end, offset + length) - last.offset <= MOST_BYTES
    if (joins)
      groups[groups.length - 1] = { name, offset: last.offset, length: Math.max(end, offset + length) - last.offset }
    else groups.push({ name, offset, length })
  }
  return groups
}

class Ahead {
  readonly #storage: StorageDriver
  readonly #groups: readonly Group[]
  readonly #ahead: number
  readonly #signal: AbortSignal
  readonly #stop = new AbortController()
  /** The first group that may still be read, and the first one not yet fetched. */
  #first = 0
  #next = 0
  #heldBytes = 0

  constructor(storage: StorageDriver, groups: readonly Group[], ahead: number, signal: AbortSignal) {
    this.#storage = storage
    this.#groups = groups
    this.#ahead = ahead
    this.#signal = AbortSignal.any([signal, this.#stop.signal])
    // Every read-ahead request adds a listener; Node would report a leak on stderr.
    setMaxListeners(0, this.#signal)
    this.#fetchAhead()
  }

  async read(name: string, range: ByteRange & Cancellable = {}): Promise<ByteSource> {
    const { offset = 0, length } = range
    const index = length === undefined ? -1 : this.#find(name, offset, length)
    if (index === -1) return this.#storage.read(name, range)
    this.#dropBefore(index)
    const group = this.#groups[index]!
    const bytes = await (group.bytes ?? this.#fetch(group))
    const start = offset - group.offset
    return sourceOf(bytes.subarray(start, start + length!))
  }

  #find(name: string, offset: number, length: number): number {
    return this.#groups.findIndex(
      (group, index) =>
        index >= this.#first &&
        group.name === name &&
        group.offset <= offset &&
        offset + length <= group.offset + group.length,
    )
  }

  /** Reading has reached this group, so the earlier ones are no longer needed. */
  #dropBefore(index: number): void {
    for (; this.#first < index; this.#first++) {
      const group = this.#groups[this.#first]!
      if (this.#first < this.#next) this.#heldBytes -= group.length
      delete group.bytes
    }
    this.#next = Math.max(this.#next, index)
    this.#fetchAhead()
  }

  #fetchAhead(): void {
    for (;;) {
      const group = this.#groups[this.#next]
      if (group === undefined || this.#next - this.#first > this.#ahead) return
      if (this.#heldBytes > 0 && this.#heldBytes + group.length > AHEAD_BYTES) return
      this.#next++
      this.#heldBytes += group.length
      group.bytes = this.#fetch(group)
      // Avoids an unhandled rejection; the read of this group awaits the promise and reports the error.
      markHandled(group.bytes)
    }
  }

  async #fetch({ name, offset, length }: Group): Promise<Buffer> {
    const source = await this.#storage.read(name, { offset, length, signal: this.#signal })
    // A group is at most AHEAD_BYTES long, so one buffer is used.
    const bytes = Buffer.allocUnsafeSlow(length)
    let at = 0
    try {
      for (let chunk = await source.next(); chunk !== undefined; chunk = await source.next()) {
        bytes.set(chunk, at)
        at += chunk.length
      }
    } finally {
      await source[Symbol.asyncDispose]()
    }
    return bytes
  }

  async end(): Promise<void> {
    this.#stop.abort(new DOMException('the read-ahead is no longer needed', 'AbortError'))
    await Promise.allSettled(this.#groups.map(({ bytes }) => bytes))
  }
}
