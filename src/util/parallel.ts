/**
 * Runs `work` for each item, at most `limit` at once, started in order. After a failure no more are started; the first
 * failure is thrown when all started ones have ended.
 *
 * @returns results in the order of the items
 */
export async function inParallel<T, R>(
  items: readonly T[],
  limit: number,
  work: (item: T, index: number) => Promise<R>,
): Promise<R[]> {
  const results: R[] = []
  let failure: { readonly error: unknown } | undefined
  let next = 0
  const runner = async (): Promise<void> => {
    while (next < items.length && failure === undefined) {
      const index = next++
      try {
        results[index] = await work(items[index] as T, index)
      } catch (error) {
        failure ??= { error }
      }
    }
  }
  await Promise.all(Array.from({ length: Math.max(1, Math.min(limit, items.length)) }, runner))
  if (failure !== undefined) throw failure.error
  return results
}

/** As `inParallel`, for different functions. */
export async function eachInParallel<T extends readonly unknown[]>(
  works: { readonly [K in keyof T]: () => Promise<T[K]> },
  limit: number,
): Promise<T> {
  return (await inParallel(works, limit, (work) => work())) as unknown as T
}
