import { commandLineFor } from '../../config/begin-line.ts'
import type { AnyResolved, CommandName } from '../../config/resolve.ts'
import { fileChanges } from '../../commands/shared/background-end.ts'
import { parseStanzas } from '../../core/serve/rights.ts'
import { serve, type ServingHost } from '../../core/serve/serve.ts'
import { standardChannel } from '../../remote/channel.ts'
import { EXIT_CODES } from '../../util/error.ts'
import { every } from '../../util/every.ts'
import type { Logger } from '../../util/log.ts'
import { leaveAfter } from '../../util/stuck.ts'
import type { Surroundings } from '../context.ts'
import { TerminalProgress } from '../progress.ts'
import { PROTOCOL_TIMEOUT_MS } from '../remote-host.ts'
import type { Process } from '../run-command.ts'
import { contextFor as contextByRights, contextOf } from './context-for.ts'

/**
 * Serves one connection over standard input and output, for sshd: `COMMAND:remote` what its command line names,
 * `server:remote STANZA,...` what the other host asks for of these stanzas, by the configuration of this host. The other
 * host has the log.
 */
export async function runRemote(resolved: AnyResolved, process: Process): Promise<void> {
  const { options } = resolved
  if (options.neutralUmask !== false) globalThis.process.umask(0)
  const { contextFor } = servingHost(resolved, process)
  let command = ''
  const host: ServingHost = {
    contextFor(request, log) {
      command = request.command
      return contextFor(request, log)
    },
  }
  const served = await serve(standardChannel('client ssh protocol'), host, {
    ioTimeoutMs: options.ioTimeout ?? 60_000,
    protocolTimeoutMs: PROTOCOL_TIMEOUT_MS,
    signal: process.signal,
    // A request that hangs must not keep the process and its locks.
    onEnd: () => leaveAfter(END_MS, EXIT_CODES.assert),
  })
  const changed = fileChanges(resolved.configLooked)
  using _timer = every(LOOK_MS, () => {
    // Only the processes that archive keep connections, and start again. Others may be idle between their requests.
    const change = KEEPING.has(command) ? changed() : undefined
    if (change !== undefined) served.closeWhenIdle(change)
  })
  await served.ended
}

const END_MS = 10_000
const LOOK_MS = 1000
const KEEPING: ReadonlySet<string> = new Set<CommandName>(['archive-get', 'archive-push'])

function servingHost(resolved: AnyResolved, process: Process): ServingHost {
  const around = (log: Logger): Surroundings => ({
    ...process,
    log,
    progress: new TerminalProgress('none'),
    continueAs: () => undefined,
    learnSecret: () => undefined,
  })
  if (resolved.command !== 'server')
    return { contextFor: async (request, log) => contextOf(request, resolved, around(log)) }
  const allowed = parseStanzas(resolved.parameters[0] ?? '', 'the parameter of server:remote')
  return {
    contextFor: (request, log) =>
      contextByRights(request, {
        allowed,
        commandLine: (command) => commandLineFor(resolved, command, process.cwd),
        around: around(log),
      }),
  }
}
