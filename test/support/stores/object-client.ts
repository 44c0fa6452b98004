import type {
  ObjectBody,
  ObjectClient,
  ObjectEntry,
  ObjectGetRequest,
  ObjectLimits,
  ObjectListRequest,
  ObjectPage,
  ObjectPutRequest,
  ObjectUpload,
} from '../../../src/storage/object/client.ts'
import { PgtsError } from '../../../src/util/error.ts'

export type RequestKind = 'head' | 'list' | 'get' | 'put' | 'begin' | 'part' | 'complete' | 'abort' | 'remove'

export interface Request {
  readonly kind: RequestKind
  /** Name of the object, or the prefix; of a batch all names, with commas. */
  readonly name: string
  /** Of a part, from 1. */
  readonly part?: number
}

/** A fault before the request has an effect, or after it, when the answer is lost. */
export type Fault = { readonly error: Error; readonly after?: boolean } | { readonly stall: true } | BodyFault
/** Of a get: the body ends, fails or stalls after this number of bytes. */
export type BodyFault = { readonly bodyAfter: number; readonly then: 'end' | 'stall' | Error }

export interface MemoryObjects extends ObjectClient {
  readonly objects: Map<string, { readonly bytes: Buffer; readonly mtimeMs: number }>
  /** Every request in the order of their start. */
  readonly requests: readonly Request[]
  /** Uploads that were neither completed nor aborted. */
  openUploads: number
  /** Start time of the next upload. */
  uploadsBegunMs: number | undefined
  readonly mostInFlight: number
  count(kind: RequestKind): number
  /** Called before each request; returns its fault. */
  fault: (request: Request) => Fault | undefined
  /** How long each request takes. */
  delayMs: number
  /** Names that cannot be removed. */
  readonly kept: Set<string>
}

export interface MemoryObjectsOptions {
  readonly pageSize?: number
  readonly limits?: Partial<ObjectLimits>
}

/** An object store in this process, with configurable faults. */
export function memoryObjects({ pageSize = 1000, limits = {} }: MemoryObjectsOptions = {}): MemoryObjects {
  return new InMemory(pageSize, {
    partBytes: { min: 1024, max: 5 * 1024 ** 3 },
    maxParts: 10_000,
    parallelParts: 4,
    removeBatch: 1000,
    ...limits,
  })
}

class InMemory implements MemoryObjects {
  readonly display = 's3://memory'
  readonly objects = new Map<string, { bytes: Buffer; mtimeMs: number }>()
  readonly requests: Request[] = []
  readonly kept = new Set<string>()
  fault: MemoryObjects['fault'] = () => undefined
  delayMs = 0
  openUploads = 0
  uploadsBegunMs: number | undefined
  readonly #uploads = new Map<object, { readonly name: string; readonly begunMs: number; end(): void }>()
  mostInFlight = 0
  #inFlight = 0
  #version = 0

  constructor(
    readonly pageSize: number,
    readonly limits: ObjectLimits,
  ) {}

  count(kind: RequestKind): number {
    return this.requests.filter((request) => request.kind === kind).length
  }

  async #answer<T>(request: Request, signal: AbortSignal | undefined, act: () => T): Promise<T> {
    signal?.throwIfAborted()
    this.requests.push(request)
    this.mostInFlight = Math.max(this.mostInFlight, ++this.#inFlight)
    try {
      const fault = this.fault(request)
      if (fault !== undefined && 'stall' in fault) await aborted(signal)
      if (this.delayMs > 0) await new Promise((resolve) => setTimeout(resolve, this.delayMs))
      signal?.throwIfAborted()
      if (fault !== undefined && 'error' in fault) {
        if (fault.after === true) act()
        throw fault.error
      }
      const answer = act()
      if (fault !== undefined && 'bodyAfter' in fault) spoil(answer as ObjectBody, fault, signal)
      return answer
    } finally {
      this.#inFlight--
    }
  }

  head(name: string, signal?: AbortSignal): Promise<ObjectEntry | undefined> {
    return this.#answer({ kind: 'head', name }, signal, () => this.#entry(name))
  }

  #entry(name: string): ObjectEntry | undefined {
    const found = this.objects.get(name)
    return found && { name, sizeBytes: found.bytes.length, mtimeMs: found.mtimeMs }
  }

  list({ prefix, delimiter, after = '', signal }: ObjectListRequest): Promise<ObjectPage> {
    return this.#answer({ kind: 'list', name: prefix }, signal, () => {
      const objects: ObjectEntry[] = []
      const prefixes: string[] = []
      let last = after
      for (const name of [...this.objects.keys()].sort()) {
        if (!name.startsWith(prefix)) continue
        const slash = delimiter === undefined ? -1 : name.indexOf(delimiter, prefix.length)
        const shown = slash === -1 ? name : name.slice(0, slash + 1)
        if (shown <= last) continue
        if (objects.length + prefixes.length === this.pageSize) return { objects, prefixes, next: last }
        last = shown
        if (slash === -1) objects.push(this.#entry(name)!)
        else prefixes.push(shown)
      }
      return { objects, prefixes }
    })
  }

  get(name: string, { offset = 0, length, version, signal }: ObjectGetRequest = {}): Promise<ObjectBody> {
    return this.#answer({ kind: 'get', name }, signal, () => {
      const found = this.objects.get(name)
      if (found === undefined) throw new PgtsError('file-missing', `${name} is not there`)
      const now = String(found.mtimeMs)
      if (version !== undefined && version !== now) throw new PgtsError('file-read', `${name} was replaced`)
      const bytes = found.bytes.subarray(offset, length === undefined ? undefined : offset + length)
      return { chunks: inChunks(bytes), sizeBytes: bytes.length, version: now, cancel: () => undefined }
    })
  }

  put(name: string, bytes: Uint8Array, { signal }: ObjectPutRequest): Promise<void> {
    return this.#answer({ kind: 'put', name }, signal, () => this.#store(name, Buffer.from(bytes)))
  }

  putIfAbsent(name: string, bytes: Uint8Array, { signal }: ObjectPutRequest): Promise<boolean> {
    return this.#answer({ kind: 'put', name }, signal, () => {
      if (this.objects.has(name)) return false
      this.#store(name, Buffer.from(bytes))
      return true
    })
  }

  #store(name: string, bytes: Buffer): void {
    // A different time for each version, near the present time.
    this.objects.set(name, { bytes, mtimeMs: Date.now() + ++this.#version / 1000 })
  }

  upload(name: string, { signal }: ObjectPutRequest): Promise<ObjectUpload> {
    return this.#answer({ kind: 'begin', name }, signal, () => {
      const parts = new Map<number, Buffer>()
      let state: 'open' | 'ended' = 'open'
      this.openUploads++
      const end = () => {
        if (state === 'open') this.openUploads--
        state = 'ended'
        this.#uploads.delete(parts)
      }
      this.#uploads.set(parts, { name, begunMs: this.uploadsBegunMs ?? Date.now(), end })
      return {
        part: (number, bytes, inner) =>
          this.#answer({ kind: 'part', name, part: number }, inner, () => {
            if (state !== 'open') throw new PgtsError('file-missing', 'no such upload')
            parts.set(number, Buffer.from(bytes))
          }),
        complete: (inner) =>
          this.#answer({ kind: 'complete', name }, inner, () => {
            if (state !== 'open') throw new PgtsError('file-missing', 'no such upload')
            const sorted = [...parts].sort(([a], [b]) => a - b)
            sorted.forEach(([number, bytes], index) => {
              if (number !== index + 1) throw new PgtsError('service', `part ${index + 1} is missing`)
              const small = bytes.length < this.limits.partBytes.min && index < sorted.length - 1
              if (small || bytes.length > this.limits.partBytes.max)
                throw new PgtsError('service', `part ${number} has ${bytes.length} bytes`)
            })
            end()
            this.#store(name, Buffer.concat(sorted.map(([, bytes]) => bytes)))
          }),
        abort: () => this.#answer({ kind: 'abort', name }, undefined, end),
      } satisfies ObjectUpload
    })
  }

  abortAbandoned(prefix: string, beforeMs: number, signal?: AbortSignal): Promise<number> {
    return this.#answer({ kind: 'abort', name: prefix }, signal, () => {
      const old = [...this.#uploads.values()].filter(
        ({ name, begunMs }) => name.startsWith(prefix) && begunMs < beforeMs,
      )
      for (const { end } of old) end()
      return old.length
    })
  }

  removeBatch(names: readonly string[], signal?: AbortSignal): Promise<readonly { name: string; reason: string }[]> {
    return this.#answer({ kind: 'remove', name: names.join(',') }, signal, () => {
      if (names.length > this.limits.removeBatch) throw new PgtsError('assert', 'too many names in one batch')
      for (const name of names) if (!this.kept.has(name)) this.objects.delete(name)
      return names.filter((name) => this.kept.has(name)).map((name) => ({ name, reason: 'AccessDenied' }))
    })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    // objects stay stored, as in a bucket
  }
}

const CHUNK_BYTES = 60_000

async function* inChunks(bytes: Buffer): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += CHUNK_BYTES) yield Buffer.from(bytes.subarray(at, at + CHUNK_BYTES))
}

function spoil(body: ObjectBody, fault: BodyFault, signal: AbortSignal | undefined): void {
  const whole = body.chunks
  let cancel: () => void = () => undefined
  const cancelled = new Promise<never>((_, reject) => (cancel = () => reject(new Error('the body was cancelled'))))
  cancelled.catch(() => undefined)
  async function* spoiled(): AsyncGenerator<Uint8Array> {
    let left = fault.bodyAfter
    for await (const chunk of whole) {
      const piece = chunk.subarray(0, left)
      if (piece.length > 0) yield piece
      left -= piece.length
      if (left > 0) continue
      if (fault.then instanceof Error) throw fault.then
      if (fault.then === 'stall') await Promise.race([cancelled, aborted(signal)])
      return
    }
  }
  Object.assign(body, { chunks: spoiled(), cancel })
}

function aborted(signal: AbortSignal | undefined): Promise<never> {
  return new Promise((_, reject) => {
    if (signal?.aborted === true) reject(signal.reason as Error)
    signal?.addEventListener('abort', () => reject(signal.reason as Error), { once: true })
  })
}
