import type { CompressType } from '../util/compress-type.ts'
import { PgtsError } from '../util/error.ts'

/** The error for corrupt compressed data. `detail` is the message of the library. */
export function damaged(type: CompressType, detail: string, cause?: unknown): PgtsError {
  return new PgtsError('format', `${type} data is corrupt: ${detail}`, { hints: HINTS, cause })
}

/** The error for compressed data that ends before its end mark. */
export function truncated(type: CompressType): PgtsError {
  return new PgtsError('format', `${type} data is truncated: it ends before its end mark`, { hints: HINTS })
}

const HINTS = ['the stored file differs from what was written: check the storage of the repository']
