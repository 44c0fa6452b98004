import { fileURLToPath } from 'node:url'
import { loadModule } from '../util/load-module.ts'
import { leaveStuckThreads } from '../util/stuck.ts'
import { pgtsVersion } from '../util/version.ts'
import { neverEndWithNotFound, tellShortly } from './last-resort.ts'
import { descriptorOutput } from './log-output.ts'
import { processArguments, processDirectory, processEnvironment } from './process-input.ts'
import { listenForSignals } from './signals.ts'

/** An empty or truncated file has no exports: see loadModule. */
export const complete = true

/** The composition root: signals, arguments, one command, one exit code. */
const { signal } = listenForSignals()
const argv = processArguments()
neverEndWithNotFound(argv)
if (argv.length === 1 && argv[0] === 'version') {
  // Monitoring asks often, and nothing has to be loaded to answer.
  try {
    descriptorOutput(1).write(`pgts ${pgtsVersion}\n`)
  } catch (error) {
    process.exitCode = tellShortly(error, argv)
  }
} else {
  const { run } = await loadModule(() => import('./run.ts'))
  process.exitCode = await run(argv, {
    env: processEnvironment(),
    cwd: processDirectory(),
    program: process.env['PGTS_PROGRAM'] ?? fileURLToPath(new URL('../../bin/pgts', import.meta.url)),
    signal,
  })
  leaveStuckThreads(process.exitCode)
}
