import { fileURLToPath } from 'node:url'
import { EXIT_CODES, PgtsError } from '../util/error.ts'
import { run } from './run.ts'

/**
 * The composition root: signals, arguments, one command, one exit code. A first signal ends the command in good order,
 * a second one at once.
 */
const controller = new AbortController()
for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
  process.on(name, () => {
    if (controller.signal.aborted) process.exit(EXIT_CODES.term)
    controller.abort(new PgtsError('term', `terminated on signal ${name}`))
  })
}

process.exitCode = await run(process.argv.slice(2), {
  env: process.env,
  cwd: process.cwd(),
  program: process.env['PGTS_PROGRAM'] ?? fileURLToPath(new URL('../../bin/pgts', import.meta.url)),
  signal: controller.signal,
})
