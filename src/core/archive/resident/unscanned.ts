import { isWalSegment, type WalSegment } from '../../../format/wal-segment.ts'
import { bytes, type ByteString } from '../../../util/byte-string.ts'
import type { StoredTimes } from '../push/push-job.ts'
import { namesIn, readIfExists, removeIfExists, writeAtomic, type SpoolPaths } from '../spool/spool-files.ts'

/**
 * Segments that Node has pushed: reading their commit times takes a cold process a fifth of its CPU time, so they are
 * left to the resident process that it has started, or that runs.
 */
export interface Unscanned {
  readonly segment: WalSegment
  readonly archives: StoredTimes['archives']
}

const ENDING = '.unscanned'

/** @param directory of the resident process */
export function leaveUnscanned(spool: SpoolPaths, directory: ByteString, { segment, archives }: Unscanned): void {
  writeAtomic(spool, bytes`${directory}/${segment}${ENDING}`, JSON.stringify(archives))
}

/** Reads and removes all of them. Nothing depends on one that is lost: the times of its segment stay unknown. */
export function takeUnscanned(directory: ByteString): Unscanned[] {
  return namesIn(directory).flatMap((name) => {
    const segment = name.slice(0, -ENDING.length)
    if (!name.endsWith(ENDING) || !isWalSegment(segment)) return []
    const path = bytes`${directory}/${name}`
    const text = readIfExists(path)?.text
    removeIfExists(path)
    return text === undefined ? [] : [{ segment, archives: JSON.parse(text) as Unscanned['archives'] }]
  })
}
