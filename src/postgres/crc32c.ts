/**
 * Eight tables: table k has the effect of a byte followed by k others, so that eight bytes are processed in one step.
 */
const TABLES = buildTables()

function buildTables(): Uint32Array {
  const tables = new Uint32Array(8 * 256)
  for (let byte = 0; byte < 256; byte++) {
    let crc = byte
    for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0x82f63b78 : crc >>> 1
    tables[byte] = crc
  }
  for (let i = 256; i < tables.length; i++) {
    const previous = tables[i - 256]!
    tables[i] = (previous >>> 8) ^ tables[previous & 0xff]!
  }
  return tables
}

/**
 * CRC-32C (Castagnoli, reflected, initial and final xor all ones), as pg_control and WAL records use it.
 * @see PostgreSQL, src/port/pg_crc32c_sb8.c
 */
export function crc32c(bytes: Uint8Array): number {
  return (crcOfMore(0xffffffff, bytes, 0, bytes.length) ^ 0xffffffff) >>> 0
}

/** The state of a checksum after more bytes: begins with all ones, and is inverted at the end. */
export function crcOfMore(state: number, bytes: Uint8Array, from: number, to: number): number {
  let crc = state
  let i = from
  for (const end = to - 7; i < end; i += 8) {
    crc ^= bytes[i]! | (bytes[i + 1]! << 8) | (bytes[i + 2]! << 16) | (bytes[i + 3]! << 24)
    crc =
      TABLES[7 * 256 + (crc & 0xff)]! ^
      TABLES[6 * 256 + ((crc >>> 8) & 0xff)]! ^
      TABLES[5 * 256 + ((crc >>> 16) & 0xff)]! ^
      TABLES[4 * 256 + (crc >>> 24)]! ^
      TABLES[3 * 256 + bytes[i + 4]!]! ^
      TABLES[2 * 256 + bytes[i + 5]!]! ^
      TABLES[256 + bytes[i + 6]!]! ^
      TABLES[bytes[i + 7]!]!
  }
  for (; i < to; i++) crc = (crc >>> 8) ^ TABLES[(crc ^ bytes[i]!) & 0xff]!
  return crc
}
