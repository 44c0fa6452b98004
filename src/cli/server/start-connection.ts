import { spawn } from 'node:child_process'
import { startOfNode } from '../process-input.ts'
import { CONNECTION_ARGUMENT } from './connection-argument.ts'
import type { FromConnection } from '../../commands/server/messages.ts'
import type { StartConnection } from '../../commands/server/ports.ts'

/** HUP and INT are for the server, but a terminal sends them to its processes, too: see src/cli/launch.ts. */
const IGNORED_SIGNALS = '3'

/**
 * Starts a process of this build, even if another build has been installed: the two exchange messages. It has the
 * environment and the standard error of the server.
 *
 * @param program path that the server was called by
 */
export function connectionStarter(program: string): StartConnection {
  return ({ onMessage, onEnd }) => {
    const node = startOfNode()
    const args = [...node.args, process.argv[1] ?? '', `--launched=:${IGNORED_SIGNALS}:${program}`, CONNECTION_ARGUMENT]
    const child = spawn(process.execPath, args, {
      cwd: '/',
      env: node.env,
      stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
      serialization: 'advanced',
    })
    child.on('message', (message) => onMessage(message as FromConnection))
    let reported = false
    const end = (how: string) => {
      if (!reported) onEnd(how)
      reported = true
    }
    child.once('error', (error) => end(`because it cannot be started: ${error.message}`))
    child.once('exit', (code, signal) => end(signal === null ? `with exit code ${code ?? 'unknown'}` : `of ${signal}`))
    return {
      pid: child.pid ?? 0,
      // The end of a process is reported by its exit. The socket stays open here: Node would keep it open for ever if the process
      // ended before it took it.
      send: (message, socket) => void child.send(message, socket, { keepOpen: true }, () => undefined),
      kill: (signal) => void child.kill(signal),
    }
  }
}
