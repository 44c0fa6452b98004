import { formatLsn } from '../util/lsn.ts'
import { crc32c } from './crc32c.ts'

/** The first invalid position of a segment. */
export interface WalFault {
  /** Bytes from the beginning of the file. */
  readonly offset: number
  /** LSN of the byte at this offset. */
  readonly lsn: bigint
  /** The fault, for messages: `the page has address 0/2000000 where 0/3000000 belongs`. */
  readonly what: string
  /** The content is zero: it was not written, or is lost. */
  readonly zeros: boolean
}

export interface WalWalkOptions {
  /** LSN of the first byte, from the name and the segment size in the header. */
  readonly startLsn: (segmentSize: number) => bigint | undefined
  /**
   * Timeline of the file name. Pages may be older: a segment in which a timeline begins also contains the pages before
   * that point.
   */
  readonly timeline: number
  /** Check only the header of the first page: the rest of a `.partial` can have any content. */
  readonly firstHeaderOnly?: boolean
}

const SHORT_HEADER_BYTES = 24
const LONG_HEADER_BYTES = 40
const FIRST_IS_CONTINUATION = 0x0001
const LONG_HEADER = 0x0002
const FIRST_IS_OVERWRITE = 0x0008
const ALL_FLAGS = 0x000f

/**
 * Length, transaction, previous record, info, resource manager, padding, CRC-32C. A switch record consists of this
 * header only.
 */
const RECORD_HEADER_BYTES = 24
const SWITCH_INFO = 0x40
const XLOG_RESOURCE_MANAGER = 0

/**
 * Checks the pages of a WAL segment, in chunks of any size: magic number, page address, flags, timeline, and the length
 * of a continued record. It refuses only content at which recovery would stop as well.
 *
 * If the pages end early, and on the last page, it also checks the records: a switch record (pg_switch_wal,
 * archive_timeout, a shutdown) ends a segment early, which its checksum proves. After it PostgreSQL 11 and later write
 * zeros, 10 writes pages with headers only, and after a crash at that moment the old content of a recycled file
 * follows. Recovery reads none of it. Checking every record would take as long as the checksum of the file.
 *
 * @see PostgreSQL, src/include/access/xlog_internal.h: XLogPageHeaderData; src/backend/access/transam/xlogreader.c
 */
export class WalPageWalk {
  readonly #options: WalWalkOptions
  #ended = false
  #fault: WalFault | undefined
  /** From the header of the first page; 0 before it was read. */
  #pageSize = 0
  #magic = 0
  #startLsn = 0n
  #startLow = 0
  #startHigh = 0
  /** Offset of the next page in the file. */
  #at = 0
  #timeline = 1
  /**
   * Bytes of the record that the next page must continue; undefined: only the records of the previous page determine
   * it.
   */
  #remaining: number | undefined
  #segmentSize = 0
  /** Offset of the last page with more content than a header; -1 for none. */
  #content = -1
  /** The beginning of a page that ends in the next chunk. */
  #carry: Uint8Array = new Uint8Array(0)
  /** The page at `#content` and the one before it, if they were in an earlier chunk. */
  #kept = new Map<number, Uint8Array>()

  constructor(options: WalWalkOptions) {
    this.#options = options
  }

  /** undefined: all pages so far are valid. The caller checks the size. */
  get fault(): WalFault | undefined {
    return this.#fault
  }

  push(chunk: Uint8Array): void {
    if (this.#ended) return
    const bytes = this.#carry.length === 0 ? chunk : Buffer.concat([this.#carry, chunk])
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
    if (this.#at === 0 && bytes.length >= LONG_HEADER_BYTES) this.#begin(view)
    const window = { bytes, from: this.#at }
    let offset = 0
    for (; this.#pageSize > 0 && offset + this.#pageSize <= bytes.length; offset += this.#pageSize) {
      if (this.#ended) return
      const wrong = this.#header(view, offset)
      if (wrong !== undefined) {
        if (this.#recordsEnd(window) === 'switch') this.#ended = true
        else this.#refuse(this.#at, wrong.what, wrong.zeros)
        return
      }
      this.#at += this.#pageSize
      if (this.#at === this.#segmentSize) this.#last(window)
    }
    if (this.#ended) return
    this.#carry = Uint8Array.prototype.slice.call(bytes, offset)
    this.#keep(window)
  }

  #begin(view: DataView): void {
    const size = view.getUint32(36, true)
    this.#segmentSize = view.getUint32(32, true)
    const startLsn = this.#options.startLsn(this.#segmentSize)
    this.#ended = startLsn === undefined
    if (startLsn === undefined) return
    this.#startLsn = startLsn
    this.#startLow = Number(startLsn & 0xffffffffn)
    this.#startHigh = Number(startLsn >> 32n)
    if (size < 1024 || size > 65536 || (size & (size - 1)) !== 0) {
      this.#refuse(0, `the first page contains page size ${size}, which is invalid`)
      return
    }
    this.#pageSize = size
    this.#magic = view.getUint16(0, true)
  }

  /** The fault of the page; undefined: none. */
  #header(view: DataView, offset: number): { readonly what: string; readonly zeros?: true } | undefined {
    const magic = view.getUint16(offset, true)
    const flags = view.getUint16(offset + 2, true)
    const timeline = view.getUint32(offset + 4, true)
    const low = view.getUint32(offset + 8, true)
    const high = view.getUint32(offset + 12, true)
    const remaining = view.getUint32(offset + 16, true)
    const refuse = (what: string) => ({ what: `the page ${what}` })

    if ((magic | flags | timeline | low | high | remaining) === 0)
      return { what: 'the page has no header, only zeros', zeros: true }
    if (magic !== this.#magic)
      return refuse(`has magic number 0x${magic.toString(16)}, the first page 0x${this.#magic.toString(16)}`)
    // A segment never crosses a 4 GB boundary, so only the lower half of the address increases.
    if (low !== this.#startLow + this.#at || high !== this.#startHigh) {
      const address = (BigInt(high) << 32n) | BigInt(low)
      return refuse(`has address ${formatLsn(address)} where ${formatLsn(this.#startLsn + BigInt(this.#at))} belongs`)
    }
    if (timeline > this.#options.timeline)
      return refuse(`is of timeline ${timeline}, later than timeline ${this.#options.timeline} of the file's name`)
    if (timeline < this.#timeline)
      return refuse(`is of timeline ${timeline}, the previous page of timeline ${this.#timeline}`)
    if ((flags & ~ALL_FLAGS) !== 0 || ((flags & LONG_HEADER) !== 0) !== (this.#at === 0))
      return refuse(`has flags 0x${flags.toString(16).padStart(4, '0')}, which are invalid here`)
    if (((flags & FIRST_IS_CONTINUATION) !== 0) !== remaining > 0)
      return refuse(`continues a record with ${remaining} bytes, which contradicts its flags`)
    // After a crash the rest of a record may be lost; a flag on the page that would continue it marks this.
    if (this.#remaining !== undefined && remaining !== this.#remaining && (flags & FIRST_IS_OVERWRITE) === 0)
      return refuse(`continues a record with ${remaining} bytes, but ${this.#remaining} remain of it`)

    const header = headerBytes(this.#at)
    const room = this.#pageSize - header
    // If a record ends on this page, more records may follow; only they determine where the content ends.
    this.#remaining = remaining > room ? remaining - room : remaining === room ? 0 : undefined
    this.#timeline = timeline
    if (remaining > 0 || view.getUint32(offset + header, true) !== 0) this.#content = this.#at
    if (this.#options.firstHeaderOnly === true) this.#ended = true
    return undefined
  }

  /** All pages are present and valid: check that the records are complete. */
  #last(window: Window): void {
    this.#ended = true
    const end = this.#recordsEnd(window)
    if (end !== 'switch' && end < this.#segmentSize) this.#refuse(end, 'the records end', true)
  }

  /**
   * The end of the records that begin on the last page with content: a switch, or an offset, which is after the page if
   * the last record continues there.
   */
  #recordsEnd(window: Window): 'switch' | number {
    const page = this.#page(this.#content, window)
    if (page === undefined) return this.#content < 0 ? LONG_HEADER_BYTES : this.#content
    const view = new DataView(page.buffer, page.byteOffset, page.length)
    const first = headerBytes(this.#content)
    const continued = view.getUint32(16, true)
    let at = first + aligned(continued)
    const next = at + 4 <= page.length ? view.getUint32(at, true) : 0
    if (this.#endsSwitch(page.subarray(first, first + continued), next, window)) return 'switch'
    while (at + 4 <= page.length) {
      const length = view.getUint32(at, true)
      if (length < RECORD_HEADER_BYTES) break
      if (length === RECORD_HEADER_BYTES && at + length <= page.length && isSwitch(page.subarray(at, at + length)))
        return 'switch'
      at += aligned(length)
    }
    return this.#content + at
  }

  /**
   * Records are aligned to 8 bytes, so 8 or 16 bytes of a switch record can be on the previous page (or in the previous
   * file).
   */
  #endsSwitch(here: Uint8Array, next: number, window: Window): boolean {
    if (here.length !== 8 && here.length !== 16) return false
    // Its beginning is in the previous file, so it is accepted if nothing follows it.
    if (this.#content === 0) return next === 0 && isEndOfSwitch(here)
    const before = this.#page(this.#content - this.#pageSize, window)
    return before !== undefined && isSwitch(Buffer.concat([before.subarray(here.length - RECORD_HEADER_BYTES), here]))
  }

  /** The page at this offset in the file, if it is still in memory. */
  #page(at: number, { bytes, from }: Window): Uint8Array | undefined {
    return at >= from ? bytes.subarray(at - from, at - from + this.#pageSize) : this.#kept.get(at)
  }

  /** The caller reuses its buffer: copy the pages on which the end of the records may depend. */
  #keep(window: Window): void {
    const kept = new Map<number, Uint8Array>()
    for (const at of [this.#content - this.#pageSize, this.#content]) {
      const page = at < 0 ? undefined : this.#page(at, window)
      if (page !== undefined) kept.set(at, Uint8Array.prototype.slice.call(page))
    }
    this.#kept = kept
  }

  #refuse(offset: number, what: string, zeros = false): void {
    this.#ended = true
    this.#fault = { offset, lsn: this.#startLsn + BigInt(offset), what, zeros }
  }
}

/** Bytes in memory, and the offset of the first in the file. */
interface Window {
  readonly bytes: Uint8Array
  readonly from: number
}

function headerBytes(at: number): number {
  return at === 0 ? LONG_HEADER_BYTES : SHORT_HEADER_BYTES
}

function isSwitch(record: Uint8Array): boolean {
  if (!isEndOfSwitch(record)) return false
  const view = new DataView(record.buffer, record.byteOffset, record.length)
  return crc32c(record.subarray(0, 20)) === view.getUint32(20, true)
}

/** Checks the last bytes of a record, at least 8. The low half of info contains flags. */
function isEndOfSwitch(bytes: Uint8Array): boolean {
  const [info = 0, resourceManager] = bytes.subarray(-8)
  return (info & 0xf0) === SWITCH_INFO && resourceManager === XLOG_RESOURCE_MANAGER
}

function aligned(length: number): number {
  return Math.ceil(length / 8) * 8
}
