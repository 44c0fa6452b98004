import { fileURLToPath } from 'node:url'
import { EXIT_CODES, PgtsError } from '../util/error.ts'
import { pgtsVersion } from '../util/version.ts'
import { descriptorOutput } from './log-output.ts'

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

const argv = process.argv.slice(2)
if (argv.length === 1 && argv[0] === 'version') {
  // Monitoring asks often, and nothing has to be loaded to answer.
  descriptorOutput(1).write(`pgts ${pgtsVersion}\n`)
} else {
  const { run } = await import('./run.ts')
  process.exitCode = await run(argv, {
    env: process.env,
    cwd: process.cwd(),
    program: process.env['PGTS_PROGRAM'] ?? fileURLToPath(new URL('../../bin/pgts', import.meta.url)),
    signal: controller.signal,
  })
}
