/** For a promise that is awaited later: until then its rejection must not count as unhandled, which would end the process. */
export function markHandled(promise: PromiseLike<unknown>): void {
  promise.then(undefined, () => undefined)
}
