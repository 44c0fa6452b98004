import { loadModule } from '../util/load-module.ts'
import { leaveStuckThreads } from '../util/stuck.ts'
import { programName } from '../util/program-name.ts'
import { versionText } from '../util/version.ts'
import { exitCodeFor, readLaunch, type Launch } from './launch.ts'
import { runToEnd } from './last-resort.ts'
import { descriptorOutput } from './log-output.ts'
import { CONNECTION_ARGUMENT } from './server/connection-argument.ts'
import { setProcessName } from './process-name.ts'
import { processArguments, processDirectory, processEnvironment, takeBackExtraCertificates } from './process-input.ts'

/** The composition root: signals, arguments, one command, one exit code. dist/cli/main.cjs calls it. */
export function start(): Promise<void> {
  takeBackExtraCertificates()
  const launch = readLaunch(processArguments())
  setProcessName(programName(launch.program))
  return runToEnd(launch, (signal) => runCommandLine(launch, signal))
}

async function runCommandLine(launch: Launch, signal: AbortSignal): Promise<number> {
  const { argv } = launch
  if (argv.length === 1 && argv[0] === 'version') {
    // Monitoring calls this often, so no other module is loaded.
    descriptorOutput(1).write(versionText('text', programName(launch.program)))
    return 0
  }
  if (argv.length === 1 && argv[0] === CONNECTION_ARGUMENT) {
    const { serveConnection } = await loadModule(() => import('./server/connection.ts'))
    return serveConnection(launch.program, signal)
  }
  const { run } = await loadModule(() => import('./run.ts'))
  const code = await run(argv, {
    env: processEnvironment(),
    cwd: processDirectory(),
    program: launch.program,
    signal,
  })
  leaveStuckThreads(exitCodeFor(code, launch))
  return code
}
