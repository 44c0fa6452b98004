import { decryptor } from '../../codec/cipher.ts'
import { pump } from '../../codec/pump.ts'
import { decompressor, wholeDecompressor } from '../../codec/registry.ts'
import type { Stage } from '../../codec/stage.ts'
import type { SuperBlock } from '../../format/block-map.ts'
import type { StorageDriver } from '../../storage/driver.ts'
import { bytesToText, type ByteString } from '../../util/byte-string.ts'
import type { ByteSource } from '../../util/bytes.ts'
import type { CompressType } from '../../util/compress-type.ts'
import { isPgtsError, PgtsError } from '../../util/error.ts'
import { onIdle } from '../../util/idle-memory.ts'
import type { RangeRead, Stretch } from './plan-reads.ts'

export interface FetchOptions {
  /** Repository file of the range. */
  readonly repoName: ByteString
  /** Loaded by the caller (loadCodec). */
  readonly compressType: CompressType
  readonly cipherPass?: string
  /**
   * Receives the blocks in pieces of any length; `position` is the offset in the file. The caller owns the bytes again
   * when this returns.
   */
  readonly write: (bytes: Uint8Array, position: number) => void
  readonly signal: AbortSignal
}

/**
 * Reads one range, decodes its super blocks and passes on the requested blocks. Memory: the buffers of the codec only.
 *
 * @throws PgtsError `format` or `crypto` if a super block is corrupt, `file-read` or `file-missing` if it is missing
 */
export async function fetchBlocks(storage: StorageDriver, range: RangeRead, options: FetchOptions): Promise<void> {
  const { repoName, signal } = options
  const { offset, length } = range
  const at = (place: string) => `'${storage.display}/${bytesToText(repoName)}' ${place}`
  let source
  try {
    source = new Cut(await storage.read(repoName, { offset, length, signal }))
  } catch (error) {
    throw explain(error, at(`at ${offset}`))
  }
  await using cut = source
  const decodeWhole = wholeDecompressor(options.compressType)
  using storedBuffer = new ReusedBuffer()
  using plainBuffer = new ReusedBuffer()
  for (const { superBlock, stretches } of range.superBlocks) {
    const picked = new Picker(superBlock, stretches, options.write)
    const isSmall = Math.max(superBlock.plainBytes, superBlock.storedBytes) <= MOST_WHOLE_BYTES
    try {
      if (decodeWhole === undefined || !isSmall) {
        await pump(cut.next(superBlock.storedBytes), decoders(options), picked, signal)
      } else {
        const stored = await compressedBytes(cut.next(superBlock.storedBytes), superBlock, storedBuffer, options)
        signal.throwIfAborted()
        const plain = plainBuffer.take(superBlock.plainBytes)
        picked.writeWhole(plain, decodeWhole(stored, plain))
      }
      picked.finish()
    } catch (error) {
      throw explain(error, at(`at ${superBlock.offset} (${superBlock.storedBytes} bytes)`))
    }
  }
}

/** Larger super blocks are decoded in pieces. */
const MOST_WHOLE_BYTES = 4 * 1024 * 1024

/** Buffers of super blocks that are not in use. Several fetches of a thread are concurrent if they wait for a network. */
const spareBuffers: Uint8Array[] = []
const MOST_SPARE = 4
onIdle(() => {
  spareBuffers.length = 0
})

/** One buffer for one super block after the other. */
class ReusedBuffer implements Disposable {
  #bytes = spareBuffers.pop() ?? new Uint8Array(0)

  take(length: number): Uint8Array {
    if (this.#bytes.length < length) this.#bytes = Buffer.allocUnsafeSlow(length)
    return this.#bytes.subarray(0, length)
  }

  [Symbol.dispose](): void {
    if (spareBuffers.length < MOST_SPARE) spareBuffers.push(this.#bytes)
  }
}

function decoders({ cipherPass, compressType }: FetchOptions): Stage[] {
  const stages: Stage[] = []
  if (cipherPass !== undefined) stages.push(decryptor(cipherPass, { raw: true }))
  if (compressType !== 'none') stages.push(decompressor(compressType, { raw: true }))
  return stages
}

/** The decrypted bytes of a super block, in one piece; valid until the next read of the source. */
async function compressedBytes(
  source: ByteSource,
  { storedBytes }: SuperBlock,
  buffer: ReusedBuffer,
  { cipherPass }: FetchOptions,
): Promise<Uint8Array> {
  const collected = buffer.take(storedBytes)
  let filled = 0
  const add = (bytes: Uint8Array) => {
    collected.set(bytes, filled)
    filled += bytes.length
  }
  const cipher = cipherPass === undefined ? undefined : decryptor(cipherPass, { raw: true })
  for (;;) {
    const answer = source.next()
    const chunk = answer instanceof Promise ? await answer : answer
    if (chunk === undefined) break
    if (cipher !== undefined) for (const bytes of cipher.push(chunk)) add(bytes)
    else if (chunk.length === storedBytes) return chunk
    else add(chunk)
  }
  if (cipher !== undefined) for (const bytes of cipher.finish()) add(bytes)
  return collected.subarray(0, filled)
}

/** Adds the position in the repository. An error of `write` is about the target file and is returned unchanged. */
function explain(error: unknown, where: string): unknown {
  const codes = ['format', 'crypto', 'file-missing', 'file-read', 'file-open', 'path-missing'] as const
  if (!codes.some((code) => isPgtsError(error, code)) || !isPgtsError(error)) return error
  return new PgtsError(error.code, `unable to read blocks from ${where}: ${error.message}`, {
    hints: error.hints,
    cause: error,
  })
}

/** A sink for a plain super block that passes on the requested stretches. */
class Picker {
  #position = 0
  #next = 0

  constructor(
    readonly superBlock: SuperBlock,
    readonly stretches: readonly Stretch[],
    readonly pass: FetchOptions['write'],
  ) {}

  write(chunk: Uint8Array): void {
    const chunkStart = this.#position
    this.#position += chunk.length
    // Corrupt bytes may decode to any length, so stop at the expected length.
    if (this.#position > this.superBlock.plainBytes) throw this.#wrongLength(`more than ${this.superBlock.plainBytes}`)
    for (let stretch = this.stretches[this.#next]; stretch !== undefined; stretch = this.stretches[this.#next]) {
      const start = Math.max(stretch.start, chunkStart)
      const end = Math.min(stretch.end, this.#position)
      if (start < end) {
        const piece = chunk.subarray(start - chunkStart, end - chunkStart)
        this.pass(piece, stretch.filePosition + start - stretch.start)
      }
      if (stretch.end > this.#position) return
      this.#next++
    }
  }

  /** @param bytes the super block; `decodedBytes` may be more, if it did not fit */
  writeWhole(bytes: Uint8Array, decodedBytes: number): void {
    if (decodedBytes > bytes.length) throw this.#wrongLength(`more than ${bytes.length}`)
    this.write(bytes.subarray(0, decodedBytes))
  }

  finish(): void {
    if (this.#position < this.superBlock.plainBytes) throw this.#wrongLength(String(this.#position))
  }

  #wrongLength(actual: string): PgtsError {
    return new PgtsError(
      'format',
      `a super block decodes to ${actual} bytes, expected by the block map ${this.superBlock.plainBytes}`,
    )
  }
}

/** Splits one source into consecutive parts. */
class Cut implements AsyncDisposable {
  readonly #source: ByteSource
  #left: Uint8Array = new Uint8Array(0)

  constructor(source: ByteSource) {
    this.#source = source
  }

  /** The next `length` bytes, which the caller must consume before the next call. */
  next(length: number): ByteSource {
    let owed = length
    const hand = (chunk: Uint8Array | undefined): Uint8Array | undefined => {
      if (chunk === undefined) throw new PgtsError('file-read', `the file ends ${owed} bytes too early`)
      const piece = chunk.subarray(0, owed)
      this.#left = chunk.subarray(piece.length)
      owed -= piece.length
      return piece
    }
    return {
      next: () => {
        if (owed === 0) return undefined
        if (this.#left.length > 0) return hand(this.#left)
        const answer = this.#source.next()
        return answer instanceof Promise ? answer.then(hand) : hand(answer)
      },
      // Not closed here: the next part continues with the same source.
      [Symbol.asyncDispose]: () => Promise.resolve(),
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#source[Symbol.asyncDispose]()
  }
}
