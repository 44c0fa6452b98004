import { EXIT_CODES, PgtsError } from '../util/error.ts'
import { exitCodeFor, watchLauncher, type Launch } from './launch.ts'

/**
 * Ctrl-C, or a server that stops, signals the launcher and Node, and the launcher forwards its signal: Node receives it
 * twice.
 */
const SAME_SIGNAL_MS = 1000
/** Time for a command to end after its launcher has ended. */
const ALONE_MS = 5000

let hangUp: (() => void) | undefined

/** Calls back for each SIGHUP, also if the caller ignores it, until disposed: then it ends the process again. */
export function onHangUp(act: () => void): Disposable {
  hangUp = act
  return { [Symbol.dispose]: () => void (hangUp = undefined) }
}

/** The first signal aborts the command, a second one exits at once. Signals that the caller ignores stay ignored. */
export function listenForSignals(launch: Launch): { readonly signal: AbortSignal } {
  const controller = new AbortController()
  const leave = () => process.exit(exitCodeFor(EXIT_CODES.term, launch))
  let first: { readonly name: string; readonly atMs: number } | undefined
  for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT'] as const) {
    process.on(name, () => {
      if (name === 'SIGHUP' && hangUp !== undefined) return hangUp()
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
