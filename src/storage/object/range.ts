import { RetryableStoreError } from './retryable-error.ts'

export interface RangeAsked {
  readonly offset?: number
  readonly length?: number
}

export interface RangeAnswer {
  readonly status: number
  readonly contentRange?: string
  readonly contentLength?: number
}

/**
 * Does an answer carry the bytes that were asked for? 206 has to name them; 200 has all of the object, so it will do
 * where the range is not smaller.
 *
 * @param action `cannot read s3://bucket/name`
 * @throws RetryableStoreError when it does not: a proxy or cache that does not know ranges answers so
 */
export function checkRange(action: string, asked: RangeAsked, answer: RangeAnswer): void {
  if (isRange(asked, answer)) return
  const range = answer.contentRange === undefined ? '' : `, ${answer.contentRange}`
  throw new RetryableStoreError(
    `${action}: the store sent other bytes than it was asked for (${shown(asked)} wanted; status ${answer.status}${range})`,
    { hints: ['check for a proxy or cache that does not support range requests'] },
  )
}

function isRange({ offset = 0, length }: RangeAsked, { status, contentRange, contentLength }: RangeAnswer): boolean {
  const isWhole = offset === 0 && length === undefined
  if (status !== 206) return isWhole || (offset === 0 && contentLength !== undefined && contentLength <= length!)
  const [, first, last, total] = /^bytes (\d+)-(\d+)\/(\d+|\*)$/.exec(contentRange ?? '') ?? []
  if (isWhole || first === undefined || Number(first) !== offset) return false
  const sizeBytes = Number(last) - offset + 1
  if (contentLength !== undefined && contentLength !== sizeBytes) return false
  const wanted = Math.min(length ?? Infinity, total === '*' ? Infinity : Number(total) - offset)
  return wanted === Infinity || (total === '*' ? sizeBytes <= wanted : sizeBytes === wanted)
}

function shown({ offset = 0, length }: RangeAsked): string {
  return `bytes ${offset}-${length === undefined ? '' : offset + length - 1}`
}
