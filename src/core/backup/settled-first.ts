/**
 * The jobs of settled files, which may be copied at once, then the others. As soon as these may be copied, they are next: they
 * include the largest files that are in use.
 */
export async function* settledFirst<J>(
  settled: Iterable<J>,
  others: Generator<J>,
  nextSecond: Promise<void>,
): AsyncGenerator<J> {
  let hasPassed = false
  void nextSecond.then(
    () => (hasPassed = true),
    () => undefined,
  )
  for (const job of settled) {
    if (hasPassed) yield* others
    yield job
  }
  await nextSecond
  yield* others
}
