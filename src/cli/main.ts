import { fileURLToPath } from 'node:url'
import { loadModule } from '../util/load-module.ts'
import { leaveStuckThreads } from '../util/stuck.ts'
import { pgtsVersion } from '../util/version.ts'
import { exitCodeFor, readLaunch, type Launch } from './launch.ts'
import { runToEnd } from './last-resort.ts'
import { descriptorOutput } from './log-output.ts'
import { processArguments, processDirectory, processEnvironment } from './process-input.ts'

/** The composition root: signals, arguments, one command, one exit code. dist/cli/main.js calls it. */
export function start(): Promise<void> {
  const launch = readLaunch(processArguments())
  return runToEnd(launch, (signal) => runCommandLine(launch, signal))
}

/** Also for cli/archive, in whose process it runs then. */
export async function runCommandLine(launch: Launch, signal: AbortSignal): Promise<number> {
  const { argv } = launch
  if (argv.length === 1 && argv[0] === 'version') {
    // Monitoring asks often, and nothing has to be loaded to answer.
    descriptorOutput(1).write(`pgts ${pgtsVersion}\n`)
    return 0
  }
  const { run } = await loadModule(() => import('./run.ts'))
  const code = await run(argv, {
    env: processEnvironment(),
    cwd: processDirectory(),
    program: process.env['PGTS_PROGRAM'] ?? fileURLToPath(new URL('../../bin/pgts', import.meta.url)),
    signal,
  })
  leaveStuckThreads(exitCodeFor(code, launch))
  return code
}
