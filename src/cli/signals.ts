import { EXIT_CODES, PgtsError } from '../util/error.ts'

/** A first signal ends the command in good order, a second one at once. */
export function listenForSignals(): { readonly signal: AbortSignal } {
  const controller = new AbortController()
  for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.on(name, () => {
      if (controller.signal.aborted) process.exit(EXIT_CODES.term)
      controller.abort(new PgtsError('term', `terminated on signal ${name}`))
    })
  }
  return controller
}
