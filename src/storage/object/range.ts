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
 * Checks that an answer carries the requested bytes. Status 206 names its range; status 200 carries the whole object,
 * which is accepted if the range includes all of it.
 *
 * @param action `cannot read s3://bucket/name`
 * @throws RetryableStoreError if not: a proxy or cache without support for ranges answers this way
 */
export function checkRange(action: string, asked: RangeAsked, answer: RangeAnswer): void {
  if (isRange(asked, answer)) return
  const range = answer.contentRange === undefined ? '' : `, ${answer.contentRange}`
  throw new RetryableStoreError(
    `${action}: the store sent other bytes than requested (${shown(asked)} requested; status ${answer.status}${range})`,
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
