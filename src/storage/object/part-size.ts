import type { ObjectLimits } from './client.ts'

/** Small enough that a few fit into memory, large enough that a round trip weighs little against the transfer. */
const PART_BYTES = 5 * 1024 * 1024

/** This many parts have the same size, because some stores insist on that; a file beyond is larger than 5 GB. */
const EQUAL_PARTS = 1024

/** How much a part grows with each that came before it, so that 10,000 parts hold 5 TB. */
const GROWTH_BYTES = 128 * 1024

/**
 * How large part `number` (from 1) of a file is whose size nobody knows yet, bytes. Memory grows with it: 10 parts in
 * flight need 50 MB up to 5 GB of file, and more only for files that PostgreSQL does not write unless it was built so.
 */
export function partBytes(number: number, { partBytes: { min, max, multipleOf = 1 }, maxParts }: ObjectLimits): number {
  const equal = Math.min(EQUAL_PARTS, Math.floor(maxParts / 8))
  // A store that takes fewer parts gets larger ones sooner.
  const growth = GROWTH_BYTES * Math.max(1, (10_000 / maxParts) ** 2)
  const wanted = Math.max(min, PART_BYTES) + Math.max(0, number - equal) * growth
  return Math.max(multipleOf, Math.floor(Math.min(max, wanted) / multipleOf) * multipleOf)
}
