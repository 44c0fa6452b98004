import { formatLsn } from '../util/lsn.ts'
import { crc32c } from './crc32c.ts'

/** The first place in a segment that is not as PostgreSQL writes it. */
export interface WalFault {
  /** Bytes from the beginning of the file. */
  readonly offset: number
  /** Of the byte that belongs there. */
  readonly lsn: bigint
  /** What is wrong there: `the page has address 0/2000000 where 0/3000000 belongs`. */
  readonly what: string
  /** Zeros stand there: nothing was written, or what was is lost. */
  readonly zeros: boolean
}

export interface WalWalkOptions {
  /** LSN of the first byte, as the name tells it together with the segment size of the header; undefined: nothing is. */
  readonly startLsn: (segmentSize: number) => bigint | undefined
  /** Of the name. Pages may be older: a segment in which a timeline begins has the pages before that point as well. */
  readonly timeline: number
  /** Look at the first page's header only: what follows in a `.partial` may be anything. */
  readonly firstHeaderOnly?: boolean
}

const SHORT_HEADER_BYTES = 24
const LONG_HEADER_BYTES = 40
const FIRST_IS_CONTINUATION = 0x0001
const LONG_HEADER = 0x0002
const FIRST_IS_OVERWRITE = 0x0008
const ALL_FLAGS = 0x000f

/** Length, transaction, previous record, info, resource manager, padding, CRC-32C. A switch has nothing more. */
const RECORD_HEADER_BYTES = 24
const SWITCH_INFO = 0x40
const XLOG_RESOURCE_MANAGER = 0

/**
 * Walks a WAL segment while its bytes pass by, in chunks of any size: from page header to page header, and from record
 * to record by their lengths. Refused is only where recovery would stop as well: a page with another magic number, page
 * address or impossible flags, a timeline that falls, a record that has no length, does not name the one before it, or
 * does not go on where the next page says.
 *
 * The walk ends at a switch record (pg_switch_wal, archive_timeout, a shutdown), proven by its checksum. After it
 * PostgreSQL 11 and later leave zeros, 10 leaves pages with nothing but a header, and after a crash in that moment the
 * old content of a recycled file may stand there. Recovery reads none of it.
 *
 * @see PostgreSQL, src/include/access/xlog_internal.h: XLogPageHeaderData; src/backend/access/transam/xlogreader.c
 */
export class WalPageWalk {
  readonly #options: WalWalkOptions
  #ended = false
  #fault: WalFault | undefined
  /** Of the first page; 0 before it was seen. */
  #pageSize = 0
  #magic = 0
  #startLsn = 0n
  #startLow = 0
  #startHigh = 0
  /** Where the next page begins, bytes from the beginning of the file. */
  #at = 0
  #timeline = 1
  /** What the next page must go on with, bytes. */
  #remaining = 0
  /** Where the last record began, bytes from the beginning of the file; -1: before it, or not known. */
  #previous = -1
  /** The first bytes of a record that may be a switch, whose others are on the next page. */
  #begun: Uint8Array | undefined
  /** The beginning of a page whose end is in the next chunk. */
  #carry: Uint8Array = new Uint8Array(0)

  constructor(options: WalWalkOptions) {
    this.#options = options
  }

  /** Undefined: everything is right so far. What has not come yet is not missed here: the size is the caller's. */
  get fault(): WalFault | undefined {
    return this.#fault
  }

  push(chunk: Uint8Array): void {
    if (this.#ended) return
    const bytes = this.#carry.length === 0 ? chunk : Buffer.concat([this.#carry, chunk])
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
    if (this.#at === 0 && bytes.length >= LONG_HEADER_BYTES) this.#begin(view)
    let offset = 0
    for (; this.#pageSize > 0 && offset + this.#pageSize <= bytes.length; offset += this.#pageSize) {
      if (this.#ended) return
      if (!this.#header(view, offset)) return
      this.#records(view, offset)
      this.#at += this.#pageSize
    }
    this.#carry = Uint8Array.prototype.slice.call(bytes, offset)
  }

  #begin(view: DataView): void {
    const size = view.getUint32(36, true)
    const startLsn = this.#options.startLsn(view.getUint32(32, true))
    this.#ended = startLsn === undefined
    if (startLsn === undefined) return
    this.#startLsn = startLsn
    this.#startLow = Number(startLsn & 0xffffffffn)
    this.#startHigh = Number(startLsn >> 32n)
    if (size < 1024 || size > 65536 || (size & (size - 1)) !== 0) {
      this.#refuse(0, `the first page says that pages have ${size} bytes, which no server's have`)
      return
    }
    this.#pageSize = size
    this.#magic = view.getUint16(0, true)
  }

  /** False when the page is not the one that belongs there. */
  #header(view: DataView, offset: number): boolean {
    const magic = view.getUint16(offset, true)
    const flags = view.getUint16(offset + 2, true)
    const timeline = view.getUint32(offset + 4, true)
    const low = view.getUint32(offset + 8, true)
    const high = view.getUint32(offset + 12, true)
    const remaining = view.getUint32(offset + 16, true)
    const refuse = (what: string) => this.#refuse(this.#at, `the page ${what}`)

    if ((magic | flags | timeline | low | high | remaining) === 0)
      return this.#refuse(this.#at, 'the page has no header, only zeros', true)
    if (magic !== this.#magic)
      return refuse(`has magic number 0x${magic.toString(16)}, the first page 0x${this.#magic.toString(16)}`)
    // A segment never crosses a border of 4 GB, so that only the lower half counts up.
    if (low !== this.#startLow + this.#at || high !== this.#startHigh) {
      const address = (BigInt(high) << 32n) | BigInt(low)
      return refuse(`has address ${formatLsn(address)} where ${formatLsn(this.#startLsn + BigInt(this.#at))} belongs`)
    }
    if (timeline > this.#options.timeline)
      return refuse(`is of timeline ${timeline}, later than timeline ${this.#options.timeline} of the file's name`)
    if (timeline < this.#timeline)
      return refuse(`is of timeline ${timeline}, the one before it of timeline ${this.#timeline}`)
    if ((flags & ~ALL_FLAGS) !== 0 || ((flags & LONG_HEADER) !== 0) !== (this.#at === 0))
      return refuse(`has flags 0x${flags.toString(16).padStart(4, '0')}, which do not belong there`)
    if (((flags & FIRST_IS_CONTINUATION) !== 0) !== remaining > 0)
      return refuse(`goes on with ${remaining} bytes of a record, and its flags contradict`)
    if (this.#at > 0 && remaining !== this.#remaining) {
      // After a crash the rest of a record may be lost for good; the page where it would go on says so by a flag.
      if ((flags & FIRST_IS_OVERWRITE) === 0)
        return refuse(`goes on with ${remaining} bytes of a record where ${this.#remaining} are left of it`)
      this.#previous = -1
    }
    this.#timeline = timeline
    if (this.#options.firstHeaderOnly === true) this.#ended = true
    return true
  }

  /** Go through the records of a page whose header is right; `#remaining` is then what the next page goes on with. */
  #records(view: DataView, offset: number): void {
    if (this.#ended) return
    const end = offset + this.#pageSize
    const first = offset + (this.#at === 0 ? LONG_HEADER_BYTES : SHORT_HEADER_BYTES)
    const continued = view.getUint32(offset + 16, true)
    let position = first + aligned(continued)
    if (this.#endsSwitch(view, first, continued, position < end ? view.getUint32(position, true) : 0)) {
      this.#ended = true
      return
    }
    if (position > end) {
      this.#remaining = continued - (end - first)
      return
    }
    const base = this.#at - offset
    while (position < end) {
      const length = view.getUint32(position, true)
      const at = base + position
      if (length < RECORD_HEADER_BYTES) {
        this.#refuse(at, `a record has a length of ${length} bytes`, length === 0)
        return
      }
      const left = end - position
      if (left >= RECORD_HEADER_BYTES) {
        if (this.#previous >= 0) {
          const low = view.getUint32(position + 8, true)
          const high = view.getUint32(position + 12, true)
          if (low !== this.#startLow + this.#previous || high !== this.#startHigh) {
            this.#refuse(at, `a record does not follow the one before it`)
            return
          }
        }
        if (length === RECORD_HEADER_BYTES && isSwitch(bytesOf(view, position, length))) {
          this.#ended = true
          return
        }
      } else if (length === RECORD_HEADER_BYTES) {
        this.#begun = Buffer.from(bytesOf(view, position, left))
      }
      this.#previous = at
      if (length > left) {
        this.#remaining = length - left
        return
      }
      position += aligned(length)
    }
    this.#remaining = 0
  }

  /** Records begin at multiples of 8, so that 8 or 16 bytes of a switch may be on the page (or in the file) before. */
  #endsSwitch(view: DataView, first: number, continued: number, next: number): boolean {
    const begun = this.#begun
    this.#begun = undefined
    if (continued !== 8 && continued !== 16) return false
    const here = bytesOf(view, first, continued)
    if (begun !== undefined) return isSwitch(Buffer.concat([begun, here]))
    // Its beginning is in the file before: that nothing comes after it must do for a proof.
    return this.#at === 0 && next === 0 && isEndOfSwitch(here)
  }

  #refuse(offset: number, what: string, zeros = false): false {
    this.#ended = true
    this.#fault = { offset, lsn: this.#startLsn + BigInt(offset), what, zeros }
    return false
  }
}

function isSwitch(record: Uint8Array): boolean {
  if (!isEndOfSwitch(record)) return false
  const view = new DataView(record.buffer, record.byteOffset, record.length)
  return crc32c(record.subarray(0, 20)) === view.getUint32(20, true)
}

/** Of a record's last bytes, at least 8. The low half of info is for flags. */
function isEndOfSwitch(bytes: Uint8Array): boolean {
  const [info = 0, resourceManager] = bytes.subarray(-8)
  return (info & 0xf0) === SWITCH_INFO && resourceManager === XLOG_RESOURCE_MANAGER
}

function bytesOf(view: DataView, at: number, length: number): Uint8Array {
  return new Uint8Array(view.buffer, view.byteOffset + at, length)
}

function aligned(length: number): number {
  return Math.ceil(length / 8) * 8
}
