import { bytesToText, type ByteString } from '../../util/byte-string.ts'
import { PgtsError } from '../../util/error.ts'
import type { ObjectClient, ObjectListRequest, ObjectPage } from './client.ts'
import { RefusedRequestError } from './retryable-error.ts'

export const NO_NEXT_PAGE = 'the listing is truncated, but has no marker for the next page'

export const SAME_NEXT_PAGE = 'the listing makes no progress: the next page is the same page'

/**
 * Maximum number of consecutive pages without an object. Stores return empty pages where much was removed, a listing at
 * a point in time where most versions are newer.
 */
const MOST_EMPTY_PAGES = 10_000

/**
 * The pages of a listing, from `request.after` on. @throws PgtsError service if pages repeat, so that the listing would
 * not end
 */
export async function* pagesOf(client: ObjectClient, request: ObjectListRequest): AsyncGenerator<ObjectPage> {
  const progress = new ListingProgress(`cannot list ${client.display}`)
  for (let next = request.after; ;) {
    const page = await client.list(next === undefined ? request : { ...request, after: next })
    yield page
    if (page.next === undefined) return
    next = page.next
    progress.advance(next, page.objects[0]?.name)
  }
}

/**
 * Detects a listing that repeats after any number of pages: each page is compared with an earlier one, which is
 * replaced after 1, 2, 4, 8, ... pages (Brent's algorithm). The order of names cannot be used, because not every store
 * lists by name.
 */
export class ListingProgress {
  readonly #action: string
  #earlier: { readonly next: string; readonly first: string | undefined } | undefined
  #pages = 0
  #replaceAt = 1
  #empty = 0

  /** @param action `cannot list s3://bucket` */
  constructor(action: string) {
    this.#action = action
  }

  /**
   * @param next marker of the next page, as plain data
   * @param first the first entry of this page, as plain data; undefined if it has none
   */
  advance(next: unknown, first: unknown): void {
    const page = { next: JSON.stringify(next), first: first === undefined ? undefined : JSON.stringify(first) }
    this.#pages++
    const repeats = page.next === this.#earlier?.next || (first !== undefined && page.first === this.#earlier?.first)
    this.#empty = first === undefined ? this.#empty + 1 : 0
    if (repeats || this.#empty > MOST_EMPTY_PAGES) {
      throw new PgtsError(
        'service',
        `${this.#action}: the listing does not end: page ${this.#pages} repeats an earlier one`,
      )
    }
    if (this.#pages < this.#replaceAt) return
    this.#earlier = page
    this.#replaceAt *= 2
  }
}

/**
 * Returns the page unchanged if it can be an answer to the request.
 *
 * @param action `cannot list s3://bucket/prefix`
 * @throws RefusedRequestError if the next page is this page, or if an entry is outside the prefix
 */
export function checkedPage<T extends Pick<ObjectPage, 'prefixes' | 'next'>>(
  action: string,
  { prefix, after }: Pick<ObjectListRequest, 'prefix' | 'after'>,
  page: T,
  names: readonly ByteString[],
): T {
  if (page.next !== undefined && page.next === after)
    throw new RefusedRequestError('service', `${action}: ${SAME_NEXT_PAGE}`)
  const foreign = [...names, ...page.prefixes].find((name) => name === '' || !name.startsWith(prefix))
  if (foreign !== undefined)
    throw new RefusedRequestError(
      'service',
      `${action}: the listing has '${bytesToText(foreign)}', which was not requested`,
    )
  return page
}
