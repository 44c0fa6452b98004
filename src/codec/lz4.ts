import { PgtsError } from '../util/error.ts'
import type { Codec } from './registry.ts'

/** LZ4 frames. */
export const lz4: Codec = {
  compressor: () => {
    throw new PgtsError('feature-not-supported', 'lz4 is being built')
  },
  decompressor: () => {
    throw new PgtsError('feature-not-supported', 'lz4 is being built')
  },
}
