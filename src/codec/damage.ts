import type { CompressType } from '../util/compress-type.ts'
import { PgtsError } from '../util/error.ts'

/** The compressed bytes say something impossible. `detail` is the library's word for it. */
export function damaged(type: CompressType, detail: string, cause?: unknown): PgtsError {
  return new PgtsError('format', `${type} data is damaged: ${detail}`, { hints: HINTS, cause })
}

/** The compressed bytes end before their own end mark. */
export function truncated(type: CompressType): PgtsError {
  return new PgtsError('format', `${type} data is truncated: it stops before its end mark`, { hints: HINTS })
}

const HINTS = ['the stored file is not what was written: check the storage below the repository']
