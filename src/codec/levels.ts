import type { CompressType } from '../util/compress-type.ts'

/** Properties of a codec, and whether this build can read and write it. Levels are those of pgBackRest. */
export interface CodecFacts {
  /** Inclusive range and default; absent if the codec has no levels. */
  readonly level?: { readonly min: number; readonly max: number; readonly default: number }
  readonly reads: boolean
  readonly writes: boolean
  /** Up to this size a file is compressed faster in one call than in chunks. */
  readonly oneCallBytes?: number
}

/** One row per codec; options, help and manifests derive from it. */
export const CODECS: Record<CompressType, CodecFacts> = {
  none: { reads: true, writes: true },
  gz: { level: { min: -1, max: 9, default: 6 }, reads: true, writes: true },
  lz4: { level: { min: -5, max: 12, default: 1 }, reads: true, writes: true },
  zst: { level: { min: -7, max: 22, default: 3 }, reads: true, writes: true, oneCallBytes: 16 * 1024 * 1024 },
  bz2: { level: { min: 1, max: 9, default: 9 }, reads: true, writes: true },
}

/** The level used if none is given; 0 for `none`, as manifests record it. */
export function defaultLevel(type: CompressType): number {
  return CODECS[type].level?.default ?? 0
}
