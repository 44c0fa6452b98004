import { PgtsError } from '../../util/error.ts'
import type { BlockStage, BlockWriteOptions } from './types.ts'

/** A stage that stores a file as blocks: super blocks of what is new, then the map of all. */
export function blockWriter(_options: BlockWriteOptions): BlockStage {
  throw new PgtsError('assert', 'not written yet')
}
