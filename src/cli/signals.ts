import { EXIT_CODES, PgtsError } from '../util/error.ts'
import { exitCodeFor, watchLauncher, type Launch } from './launch.ts'

/** Ctrl-C, and a server that stops, reach the launcher and Node, and the launcher forwards what it gets: one signal twice. */
const SAME_SIGNAL_MS = 1000
/** How long a command without its launcher may take to tidy up. */
const ALONE_MS = 5000

/** A first signal ends the command in good order, a second one at once. Signals that the caller ignores stay ignored. */
export function listenForSignals(launch: Launch): { readonly signal: AbortSignal } {
  const controller = new AbortController()
  const leave = () => process.exit(exitCodeFor(EXIT_CODES.term, launch))
  let first: { readonly name: string; readonly atMs: number } | undefined
  for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT'] as const) {
    process.on(name, () => {
      if (launch.ignored.includes(name)) return
      const atMs = performance.now()
      if (first === undefined) first = { name, atMs }
      else if (launch.launcher === undefined || name !== first.name || atMs - first.atMs > SAME_SIGNAL_MS) leave()
      controller.abort(new PgtsError('term', `terminated on signal ${name}`))
    })
  }
  watchLauncher(launch, () => {
    setTimeout(leave, ALONE_MS).unref()
    controller.abort(new PgtsError('term', 'terminated because the process that waits for the result was killed'))
  })
  return controller
}
