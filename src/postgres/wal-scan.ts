import { POSTGRES_VERSIONS } from './versions.ts'
import {
  decodeStop,
  EPOCH,
  hasRightCrc,
  isStop,
  RECORD_HEADER_BYTES,
  SHORT_MAIN_DATA,
  STOP_BYTES,
  SWITCH_INFO,
  TRANSACTION_MANAGER,
  XLOG_MANAGER,
  type RecoveryStop,
} from './wal-record.ts'

/** A record that begins in a segment and ends in a later one. */
export interface RecordHead {
  /** Length of the whole record. */
  readonly totalBytes: number
  /** Its bytes in this segment, at most `STOP_BYTES`. */
  readonly bytes: Uint8Array
  /** Number of its bytes in this segment. */
  readonly hereBytes: number
  /** LSN of the record. */
  readonly lsn: bigint
}

/** The rest of a record that begins in an earlier segment. */
export interface RecordRest {
  /** Bytes of the record that were missing at the beginning of this segment. */
  readonly remainingBytes: number
  /** The first of them, at most `STOP_BYTES`. */
  readonly bytes: Uint8Array
}

/** Commits and aborts of one page. Times are microseconds since 1970. */
export interface TransactionEnds {
  commits: number
  earliest: number
  latest: number
  /** All transactions are between both, on a circle of 32 bits. */
  firstXid: number
  lastXid: number
}

export interface WalScanOptions {
  /** LSN of the first byte of the segment, from its name. */
  readonly startLsn: (segmentSize: number) => bigint | undefined
  readonly onEnds: (ends: TransactionEnds) => void
  /**
   * Restore points, prepared transactions, and the commits of which `onEnds` does not know.
   *
   * @param offset of the record in the segment
   */
  readonly onStop: (stop: RecoveryStop, offset: number) => void
  /** Report every commit and abort to `onStop`, in the order of the WAL, and nothing to `onEnds`. */
  readonly singly?: boolean
}

const SHORT_HEADER_BYTES = 24
const LONG_HEADER_BYTES = 40
const FIRST_IS_OVERWRITE = 0x0008
/** Header, mark and length of the main data, time. */
const SHORT_END_BYTES = RECORD_HEADER_BYTES + 2 + 8
/** Longer records are decoded from their beginning, without their checksum. */
const MOST_COLLECTED = 64 * 1024

/**
 * Finds commits, aborts and restore points in a WAL segment, in chunks of any size, by following the lengths of its
 * records across pages. Content that it does not understand, or that is corrupt, ends the scan: `complete` is false
 * then, and what was found before is valid. It never throws.
 *
 * A record is accepted if it points to the record before it, which old content of a recycled file does not; the
 * checksum is verified for records at which recovery can stop.
 *
 * @see PostgreSQL, src/backend/access/transam/xlogreader.c
 */
export class WalScan {
  readonly #options: WalScanOptions
  #ended = false
  #complete = false
  #pageSize = 0
  #segmentSize = 0
  #magic = 0
  #major = 0
  #startLow = 0
  #startHigh = 0
  #startLsn = 0n
  /** Offset of the next page in the segment. */
  #at = 0
  #carry: Uint8Array = new Uint8Array(0)
  /** Offset of the last record in the segment; -1: unknown. */
  #previous = -1
  /** The record that continues on the next page: bytes that are missing, and its offset in the segment. */
  #missing = 0
  #total = 0
  #recordAt = 0
  /** Its first bytes, if its kind is of interest or not known yet. */
  #collected: Uint8Array | undefined
  #have = 0
  /** Times whose records have the right checksum, microseconds since 2000. */
  #earliest = Infinity
  #latest = -Infinity
  #head: RecordHead | undefined
  #rest: { remainingBytes: number; bytes: Uint8Array } | undefined

  constructor(options: WalScanOptions) {
    this.#options = options
  }

  /** The whole segment was scanned, or everything before the switch record that ends it. */
  get complete(): boolean {
    return this.#complete
  }

  /** Bytes; 0 before the first page was read. */
  get segmentSize(): number {
    return this.#segmentSize
  }

  /** Of the byte at an offset in the segment. */
  lsnAt(offset: number): bigint {
    return this.#startLsn + BigInt(offset)
  }

  /** The record that the next segment completes, if recovery could stop at it. */
  get head(): RecordHead | undefined {
    return this.#head
  }

  /** The end of the record with which the segment begins. */
  get rest(): RecordRest | undefined {
    return this.#rest
  }

  push(chunk: Uint8Array): void {
    if (this.#ended) return
    const bytes = this.#carry.length === 0 ? chunk : Buffer.concat([this.#carry, chunk])
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
    if (this.#at === 0 && this.#pageSize === 0 && bytes.length >= LONG_HEADER_BYTES) this.#begin(view)
    let offset = 0
    while (!this.#ended && this.#pageSize > 0 && offset + this.#pageSize <= bytes.length) {
      this.#page(bytes, view, offset)
      offset += this.#pageSize
    }
    // The caller reuses its buffer.
    this.#carry = this.#ended ? new Uint8Array(0) : Uint8Array.prototype.slice.call(bytes, offset)
  }

  #begin(view: DataView): void {
    this.#magic = view.getUint16(0, true)
    this.#segmentSize = view.getUint32(32, true)
    const pageSize = view.getUint32(36, true)
    const version = POSTGRES_VERSIONS.find(({ walMagic }) => walMagic === this.#magic)
    const startLsn = this.#options.startLsn(this.#segmentSize)
    const isPageSize = pageSize >= 1024 && pageSize <= 65536 && (pageSize & (pageSize - 1)) === 0
    if (version === undefined || startLsn === undefined || !isPageSize) {
      this.#ended = true
      return
    }
    this.#major = Number.parseInt(version.version, 10)
    this.#pageSize = pageSize
    this.#startLsn = startLsn
    this.#startLow = Number(startLsn & 0xffffffffn)
    this.#startHigh = Number(startLsn >> 32n)
  }

  #page(bytes: Uint8Array, view: DataView, offset: number): void {
    // A segment never crosses a 4 GB boundary, so only the lower half of the address increases.
    const isExpected =
      view.getUint16(offset, true) === this.#magic &&
      view.getUint32(offset + 8, true) === this.#startLow + this.#at &&
      view.getUint32(offset + 12, true) === this.#startHigh
    if (!isExpected) return this.#end(false)
    const end = offset + this.#pageSize
    const position = this.#continued(bytes, view, offset)
    if (this.#ended) return
    this.#records(bytes, view, position, end, offset)
    if (this.#ended) return
    this.#at += this.#pageSize
    if (this.#at === this.#segmentSize) this.#last()
  }

  /** @returns where the first record of the page begins */
  #continued(bytes: Uint8Array, view: DataView, offset: number): number {
    const from = offset + (this.#at === 0 ? LONG_HEADER_BYTES : SHORT_HEADER_BYTES)
    const remaining = view.getUint32(offset + 16, true)
    const here = Math.min(remaining, offset + this.#pageSize - from)
    if (this.#at === 0 && remaining > 0) {
      const kept = bytes.subarray(from, from + Math.min(here, STOP_BYTES))
      this.#rest = { remainingBytes: remaining, bytes: Uint8Array.prototype.slice.call(kept) }
      this.#missing = remaining - here
      this.#collected = undefined
      return from + aligned(here)
    }
    if (remaining !== this.#missing) {
      // After a crash the rest of a record can be lost. The next one then points to the last complete record.
      if ((view.getUint16(offset + 2, true) & FIRST_IS_OVERWRITE) === 0) {
        this.#end(false)
        return from
      }
      this.#collected = undefined
      this.#previous = -1
      this.#missing = remaining - here
      return from + aligned(here)
    }
    if (remaining === 0) return from
    this.#collect(bytes, from, here)
    this.#missing -= here
    if (this.#missing === 0 && this.#collected !== undefined) this.#whole(this.#collected, this.#have)
    return from + aligned(here)
  }

  /**
   * The records that begin on the page. Most of interest are short commits: those of a page are reported together, and
   * the checksum is verified only for the earliest and the latest, if they are outside of the times so far.
   */
  #records(bytes: Uint8Array, view: DataView, from: number, end: number, page: number): void {
    const ends: TransactionEnds = { commits: 0, earliest: Infinity, latest: -Infinity, firstXid: -1, lastXid: -1 }
    let earliestAt = 0
    let latestAt = 0
    let at = from
    let previous = this.#previous
    const together = this.#options.singly !== true
    for (; at + 8 <= end; at += aligned(view.getUint32(at, true))) {
      const length = view.getUint32(at, true)
      if (length < RECORD_HEADER_BYTES || at + Math.max(length, RECORD_HEADER_BYTES) > end) break
      const isNext = view.getUint32(at + 8, true) === this.#startLow + previous
      if (previous >= 0 && !(isNext && view.getUint32(at + 12, true) === this.#startHigh)) break
      const info = bytes[at + 16]!
      const manager = bytes[at + 17]!
      if (together && isShortEnd(info, manager) && length >= SHORT_END_BYTES && bytes[at + 24] === SHORT_MAIN_DATA) {
        const time = view.getInt32(at + 30, true) * 2 ** 32 + view.getUint32(at + 26, true)
        if (time < ends.earliest) {
          ends.earliest = time
          earliestAt = at
        }
        if (time > ends.latest) {
          ends.latest = time
          latestAt = at
        }
        addXid(ends, view.getUint32(at + 4, true))
        if ((info & 0x70) === 0) ends.commits++
      } else if (manager <= TRANSACTION_MANAGER && (isStop(info, manager) || isSwitchInfo(info, manager))) break
      previous = this.#at + at - page
    }
    this.#previous = previous
    if (ends.latest > -Infinity && !this.#report(bytes, ends, earliestAt, latestAt)) return this.#end(false)
    if (at + 8 > end) return
    const resumeAt = this.#other(bytes, view, at, end, page)
    if (resumeAt < end && !this.#ended) this.#records(bytes, view, resumeAt, end, page)
  }

  /** @returns false: the checksum of a record is wrong */
  #report(bytes: Uint8Array, ends: TransactionEnds, earliestAt: number, latestAt: number): boolean {
    const isRight = (at: number) => hasRightCrc(bytes.subarray(at, at + lengthAt(bytes, at)))
    if (ends.earliest < this.#earliest && !isRight(earliestAt)) return false
    if (ends.latest > this.#latest && !isRight(latestAt)) return false
    this.#earliest = Math.min(this.#earliest, ends.earliest)
    this.#latest = Math.max(this.#latest, ends.latest)
    this.#options.onEnds({ ...ends, earliest: ends.earliest + EPOCH, latest: ends.latest + EPOCH })
    return true
  }

  /**
   * A record that is not a short commit and needs more than its length: a restore point, a switch, one that continues
   * on the next page, or one that is invalid.
   *
   * @returns where the next record begins
   */
  #other(bytes: Uint8Array, view: DataView, at: number, end: number, page: number): number {
    const length = view.getUint32(at, true)
    const record = this.#at + at - page
    if (length < RECORD_HEADER_BYTES) this.#end(false)
    else if (at + RECORD_HEADER_BYTES > end) this.#open(bytes, at, end, length, record)
    else if (!this.#follows(view.getUint32(at + 8, true), view.getUint32(at + 12, true))) this.#end(false)
    else {
      this.#previous = record
      const [info, manager] = [bytes[at + 16]!, bytes[at + 17]!]
      if (at + length > end) {
        if (isStop(info, manager)) this.#open(bytes, at, end, length, record)
        else {
          this.#collected = undefined
          this.#missing = length - (end - at)
        }
      } else {
        if (isStop(info, manager)) this.#stop(bytes.subarray(at, at + length), length, record)
        else if (isSwitchInfo(info, manager)) this.#end(true)
        return at + aligned(length)
      }
    }
    return end
  }

  #follows(low: number, high: number): boolean {
    return this.#previous < 0 || (low === this.#startLow + this.#previous && high === this.#startHigh)
  }

  /** A record that continues on the next page. */
  #open(bytes: Uint8Array, at: number, end: number, length: number, record: number): void {
    this.#total = length
    this.#recordAt = record
    this.#missing = length - (end - at)
    this.#collected = new Uint8Array(Math.min(length, MOST_COLLECTED))
    this.#have = 0
    this.#collect(bytes, at, end - at)
  }

  #collect(bytes: Uint8Array, from: number, count: number): void {
    const into = this.#collected
    if (into === undefined) return
    const taken = Math.min(count, into.length - this.#have)
    into.set(bytes.subarray(from, from + taken), this.#have)
    const before = this.#have
    this.#have += taken
    if (before >= RECORD_HEADER_BYTES || this.#have < RECORD_HEADER_BYTES) return
    // Only now is the header complete.
    if (!isStop(into[16]!, into[17]!) && !isSwitch(into)) this.#collected = undefined
    this.#checkPrevious(into)
  }

  #checkPrevious(record: Uint8Array): void {
    const view = new DataView(record.buffer, record.byteOffset, record.length)
    if (this.#previous !== this.#recordAt) {
      if (!this.#follows(view.getUint32(8, true), view.getUint32(12, true))) this.#end(false)
      this.#previous = this.#recordAt
    }
  }

  /** A record that began on an earlier page is complete. */
  #whole(record: Uint8Array, have: number): void {
    this.#collected = undefined
    if (this.#ended) return
    if (isSwitch(record)) return this.#end(true)
    this.#stop(record.subarray(0, have), this.#total, this.#recordAt)
  }

  #stop(bytes: Uint8Array, total: number, record: number): void {
    if (bytes.length === total && !hasRightCrc(bytes)) return this.#end(false)
    const stop = decodeStop(bytes, this.#major)
    if (stop === undefined) return this.#end(false)
    this.#options.onStop(stop, record)
  }

  #last(): void {
    this.#end(true)
    if (this.#missing === 0 || this.#collected === undefined) return
    const bytes = this.#collected.subarray(0, Math.min(this.#have, STOP_BYTES))
    this.#head = {
      totalBytes: this.#total,
      bytes,
      hereBytes: this.#total - this.#missing,
      lsn: this.lsnAt(this.#recordAt),
    }
  }

  #end(complete: boolean): void {
    this.#ended = true
    this.#complete = complete
  }
}

function isSwitch(record: Uint8Array): boolean {
  return isSwitchInfo(record[16]!, record[17]!)
}

function isSwitchInfo(info: number, manager: number): boolean {
  return manager === XLOG_MANAGER && (info & 0xf0) === SWITCH_INFO
}

/** A commit or an abort of a transaction that was not prepared. */
function isShortEnd(info: number, manager: number): boolean {
  return manager === TRANSACTION_MANAGER && (info & 0x50) === 0
}

function addXid(ends: TransactionEnds, xid: number): void {
  if (ends.firstXid < 0) ends.firstXid = ends.lastXid = xid
  else if (((xid - ends.lastXid) | 0) > 0) ends.lastXid = xid
  else if (((xid - ends.firstXid) | 0) < 0) ends.firstXid = xid
}

function lengthAt(bytes: Uint8Array, at: number): number {
  return new DataView(bytes.buffer, bytes.byteOffset + at, 4).getUint32(0, true)
}

function aligned(length: number): number {
  return (length + 7) & ~7
}
