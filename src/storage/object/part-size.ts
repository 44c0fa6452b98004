import type { ObjectLimits } from './client.ts'

/** Small enough that several fit into memory, large enough that the transfer takes much longer than the round trip. */
const PART_BYTES = 5 * 1024 * 1024

/** This many parts have the same size, because some stores require it; only files larger than 5 GB have more parts. */
const EQUAL_PARTS = 1024

/** Growth of each further part, so that 10,000 parts hold 5 TB. */
const GROWTH_BYTES = 128 * 1024

/**
 * Size of part `number` (from 1) of a file of unknown size, bytes. 10 parts in flight need 50 MB of memory up to 5 GB
 * of file; more only for files that PostgreSQL writes with a non-default segment size.
 */
export function partBytes(number: number, { partBytes: { min, max, multipleOf = 1 }, maxParts }: ObjectLimits): number {
  const equal = Math.min(EQUAL_PARTS, Math.floor(maxParts / 8))
  // A store that accepts fewer parts gets larger ones earlier.
  const growth = GROWTH_BYTES * Math.max(1, (10_000 / maxParts) ** 2)
  const wanted = Math.max(min, PART_BYTES) + Math.max(0, number - equal) * growth
  return Math.max(multipleOf, Math.floor(Math.min(max, wanted) / multipleOf) * multipleOf)
}
