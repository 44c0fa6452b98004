import { crc32, createInflate, createInflateRaw, inflateRawSync, type Inflate, type InflateRaw } from 'node:zlib'
import { systemCode } from '../util/error.ts'
import { damaged, truncated } from './damage.ts'
import type { Chunks, Stage } from './stage.ts'
import { ZlibDriver } from './zlib-driver.ts'

/**
 * Compressed files up to this size are read in one synchronous call, if the output is not larger than the limit below.
 */
const SMALL_BYTES = 64 * 1024
const SMALL_OUTPUT_BYTES = 4 * 1024 * 1024
const STREAM = { chunkSize: 256 * 1024, readableHighWaterMark: 64 * 1024 }
const TRAILER_BYTES = 8

/** Reads the first member and ignores bytes after it, as pgBackRest does. `raw` reads a zlib stream. */
export function gzDecompressor(raw: boolean): Stage {
  return raw ? new RawGzDecompressor() : new GzDecompressor()
}

/**
 * Node's gunzip continues with further members, and fails on other bytes after the first. So header and trailer are
 * read here, and the library receives only the deflate data between them.
 */
class GzDecompressor implements Stage {
  /** Input including the header, until it is known to be large. */
  #collected: Buffer[] = []
  #collectedBytes = 0
  #stream: ZlibDriver<InflateRaw> | undefined
  /** Number of compressed bytes passed to the stream. */
  #given = 0
  #trailer = Buffer.alloc(0)
  #crc = 0
  #sizeBytes = 0

  push(chunk: Uint8Array): Chunks {
    if (this.#stream !== undefined) return this.#inflate(this.#stream, chunk)
    this.#collected.push(Buffer.from(chunk))
    this.#collectedBytes += chunk.length
    return this.#collectedBytes <= SMALL_BYTES ? [] : this.#openStream(this.#takeCollected())
  }

  finish(): Chunks {
    if (this.#stream !== undefined) return this.#finishStream()
    const all = this.#takeCollected()
    const body = all.subarray(headerLength(all))
    try {
      // With `info` the result also has the length of the deflate data; @types/node lacks it.
      const answer = inflateRawSync(body, {
        info: true,
        maxOutputLength: SMALL_OUTPUT_BYTES,
        chunkSize: STREAM.chunkSize,
      }) as unknown as { buffer: Buffer; engine: { bytesWritten: number } }
      this.#count(answer.buffer)
      this.#checkTrailer(body.subarray(answer.engine.bytesWritten))
      return [answer.buffer]
    } catch (error) {
      if (systemCode(error) !== 'ERR_BUFFER_TOO_LARGE') throw toCodecError(error)
      return this.#readWhole(all)
    }
  }

  close(): void {
    this.#stream?.close()
  }

  #takeCollected(): Buffer {
    const all = this.#collected.length === 1 ? this.#collected[0]! : Buffer.concat(this.#collected)
    this.#collected = []
    return all
  }

  #openStream(start: Buffer): AsyncIterable<Uint8Array> {
    const body = start.subarray(headerLength(start))
    this.#stream = new ZlibDriver(createInflateRaw(STREAM))
    return this.#inflate(this.#stream, body)
  }

  async *#inflate(stream: ZlibDriver<InflateRaw>, chunk: Uint8Array): AsyncIterable<Uint8Array> {
    const before = this.#given
    if (!stream.ended) {
      this.#given += chunk.length
      yield* this.#counted(stream.write(chunk))
      if (!stream.ended) return
    }
    // The deflate data ended in this chunk or before it.
    const rest = chunk.subarray(Math.max(0, Math.min(chunk.length, stream.bytesTaken - before)))
    const missing = TRAILER_BYTES - this.#trailer.length
    if (missing > 0) this.#trailer = Buffer.concat([this.#trailer, rest.subarray(0, missing)])
  }

  async *#finishStream(): AsyncIterable<Uint8Array> {
    yield* this.#counted(this.#stream!.end())
    this.#checkTrailer(this.#trailer)
  }

  async *#readWhole(all: Buffer): AsyncIterable<Uint8Array> {
    yield* this.#openStream(all)
    yield* this.#finishStream()
  }

  async *#counted(outputs: AsyncIterable<Uint8Array>): AsyncIterable<Uint8Array> {
    try {
      for await (const output of outputs) {
        this.#count(output)
        yield output
      }
    } catch (error) {
      throw toCodecError(error)
    }
  }

  #count(output: Uint8Array): void {
    this.#crc = crc32(output, this.#crc)
    this.#sizeBytes += output.length
  }

  #checkTrailer(trailer: Buffer): void {
    if (trailer.length < TRAILER_BYTES) throw truncated('gz')
    if (trailer.readUInt32LE(0) !== this.#crc) throw damaged('gz', 'its CRC-32 does not match')
    if (trailer.readUInt32LE(4) !== this.#sizeBytes % 2 ** 32) throw damaged('gz', 'its length does not match')
  }
}

class RawGzDecompressor implements Stage {
  readonly #stream = new ZlibDriver<Inflate>(createInflate(STREAM))

  push(chunk: Uint8Array): Chunks {
    return translated(this.#stream.write(chunk))
  }

  finish(): Chunks {
    return translated(this.#stream.end())
  }

  close(): void {
    this.#stream.close()
  }
}

async function* translated(outputs: AsyncIterable<Uint8Array>): AsyncIterable<Uint8Array> {
  try {
    yield* outputs
  } catch (error) {
    throw toCodecError(error)
  }
}

/** zlib returns Z_BUF_ERROR if the input ends too early. */
function toCodecError(error: unknown): unknown {
  const code = systemCode(error)
  if (code === 'Z_BUF_ERROR') return truncated('gz')
  return code?.startsWith('Z_') === true ? damaged('gz', (error as Error).message, error) : error
}

/**
 * Length of the header of a member.
 * @see RFC 1952, 2.3: ID1 ID2 CM FLG MTIME(4) XFL OS, then extra field, name, comment and header CRC depending on FLG
 */
function headerLength(bytes: Buffer): number {
  const [FHCRC, FEXTRA, FNAME, FCOMMENT, RESERVED] = [0x02, 0x04, 0x08, 0x10, 0xe0]
  const start = Buffer.from([0x1f, 0x8b, 0x08])
  if (!bytes.subarray(0, 3).equals(start.subarray(0, Math.min(3, bytes.length))))
    throw damaged('gz', 'it has no gzip header')
  if (bytes.length < 10) throw truncated('gz')
  const flags = bytes[3]!
  if ((flags & RESERVED) !== 0) throw damaged('gz', 'its header has unknown flags')
  let length = 10
  if ((flags & FEXTRA) !== 0) {
    if (bytes.length < length + 2) throw truncated('gz')
    length += 2 + bytes.readUInt16LE(length)
  }
  for (const flag of [FNAME, FCOMMENT]) {
    if ((flags & flag) === 0) continue
    const zero = bytes.indexOf(0, length)
    if (zero < 0) throw truncated('gz')
    length = zero + 1
  }
  if ((flags & FHCRC) !== 0) length += 2
  if (length > bytes.length) throw truncated('gz')
  return length
}
