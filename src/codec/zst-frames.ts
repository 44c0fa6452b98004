import { damaged } from './damage.ts'

/** A part of the input that belongs to one frame. */
export interface FramePiece {
  readonly bytes: Uint8Array
  /** This is the first piece of its frame. */
  readonly begins: boolean
  /** This is the last piece of its frame. */
  readonly ends: boolean
  /** A skippable frame has no content. */
  readonly skippable: boolean
}

const MAGIC = 0xfd2fb528
const SKIPPABLE_MAGIC = 0x184d2a50
/** Size of the largest part that is collected before it is parsed: the header of a frame. */
const MOST_PART_BYTES = 18

/**
 * Finds the beginning and end of the frames of a Zstandard file. Node's decompressor stops at the end of the first
 * frame, and accepts a file that ends within a frame as complete.
 *
 * @see RFC 8878, 3.1: frame header, then blocks of 3 bytes header (last, type, size) and content, then a checksum
 */
export class ZstFrames {
  /**
   * The current part. `content` and `skip` have `#left` more bytes; other parts are collected up to `#wanted` bytes.
   */
  #state: 'magic' | 'skip-size' | 'header' | 'block' | 'content' | 'skip' = 'magic'
  readonly #part = Buffer.alloc(MOST_PART_BYTES)
  #gathered = 0
  #wanted = 4
  #left = 0
  #lastBlock = false
  #hasChecksum = false
  #skippable = false
  #begun = false
  #frames = 0
  /** The start of a frame of unknown kind. */
  #held: Uint8Array = new Uint8Array(0)

  /** True if the input so far consists of complete frames, at least one. */
  get complete(): boolean {
    return this.#frames > 0 && !this.#begun && this.#held.length === 0
  }

  /** @throws PgtsError format if the bytes are not frames */
  *split(input: Uint8Array): Generator<FramePiece> {
    const chunk = this.#held.length === 0 ? input : Buffer.concat([this.#held, input])
    this.#held = new Uint8Array(0)
    let start = 0
    for (let at = 0; at < chunk.length;) {
      at += this.#take(chunk.subarray(at))
      if (this.#state === 'magic' && this.#gathered === 0) {
        yield this.#piece(chunk.subarray(start, at), true)
        this.#frames++
        start = at
      }
    }
    if (start === chunk.length) return
    if (this.#state !== 'magic') yield this.#piece(chunk.subarray(start), false)
    else {
      this.#held = Uint8Array.from(chunk.subarray(start))
      this.#gathered = 0
    }
  }

  #piece(bytes: Uint8Array, ends: boolean): FramePiece {
    const begins = !this.#begun
    this.#begun = !ends
    return { bytes, begins, ends, skippable: this.#skippable }
  }

  /** @returns number of consumed bytes, all of one frame */
  #take(bytes: Uint8Array): number {
    if (this.#state === 'content' || this.#state === 'skip') {
      const taken = Math.min(this.#left, bytes.length)
      this.#left -= taken
      if (this.#left === 0) this.#contentEnded()
      return taken
    }
    const taken = Math.min(this.#wanted - this.#gathered, bytes.length)
    this.#part.set(bytes.subarray(0, taken), this.#gathered)
    this.#gathered += taken
    if (this.#gathered === this.#wanted) this.#partGathered()
    return taken
  }

  #partGathered(): void {
    const part = this.#part
    switch (this.#state) {
      case 'magic': {
        const magic = part.readUInt32LE(0)
        this.#skippable = (magic & ~0xf) >>> 0 === SKIPPABLE_MAGIC
        if (this.#skippable) return this.#gather('skip-size', 4)
        if (magic !== MAGIC) throw damaged('zst', 'it has no Zstandard header')
        // The first byte determines the length of the header.
        return this.#gather('header', 1)
      }
      case 'skip-size':
        return this.#pass('skip', part.readUInt32LE(0))
      case 'header': {
        const length = headerLength(part[0]!)
        if (this.#gathered < length) {
          this.#wanted = length
          return
        }
        this.#hasChecksum = (part[0]! & 0x04) !== 0
        return this.#gather('block', 3)
      }
      default: {
        const header = part.readUIntLE(0, 3)
        this.#lastBlock = (header & 1) !== 0
        const type = (header >> 1) & 3
        if (type === 3) throw damaged('zst', 'a block has an unknown type')
        // A block with one repeated byte stores that byte only.
        const stored = type === 1 ? 1 : header >> 3
        const checksum = this.#lastBlock && this.#hasChecksum ? 4 : 0
        return this.#pass('content', stored + checksum)
      }
    }
  }

  #gather(state: 'magic' | 'skip-size' | 'header' | 'block', bytes: number): void {
    this.#state = state
    this.#gathered = 0
    this.#wanted = bytes
  }

  #pass(state: 'content' | 'skip', bytes: number): void {
    this.#state = state
    this.#gathered = 0
    this.#left = bytes
    if (bytes === 0) this.#contentEnded()
  }

  #contentEnded(): void {
    if (this.#state === 'content' && !this.#lastBlock) this.#gather('block', 3)
    else this.#gather('magic', 4)
  }
}

/** Length according to the frame header descriptor: descriptor, window, dictionary id and content size. */
function headerLength(descriptor: number): number {
  const singleSegment = (descriptor & 0x20) !== 0
  const dictionary = [0, 1, 2, 4][descriptor & 3]!
  const contentSize = [singleSegment ? 1 : 0, 2, 4, 8][descriptor >> 6]!
  return 1 + (singleSegment ? 0 : 1) + dictionary + contentSize
}
