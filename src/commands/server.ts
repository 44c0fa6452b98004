import { once } from 'node:events'
import { notifySystemd } from '../util/notify-systemd.ts'
import type { CommandContext } from './context.ts'
import type { ServerPorts } from './server/ports.ts'
import { RunningServer } from './server/running-server.ts'

/**
 * Serves the repositories and clusters of this host to other hosts over TLS, until a signal. SIGHUP loads configuration
 * and certificates again.
 */
export async function server(ctx: CommandContext<'server'>, ports: ServerPorts): Promise<void> {
  const { signal } = ctx
  let reload: () => void = () => undefined
  using _ = ports.onHangUp(() => reload())
  await using running = await RunningServer.start(ctx, ports)
  let reloads = Promise.resolve()
  reload = () => {
    reloads = reloads.then(async () => {
      // systemd compares the time with that of its signal.
      notify(ctx, `RELOADING=1\nMONOTONIC_USEC=${process.hrtime.bigint() / 1000n}`)
      await running.reload()
      notify(ctx, 'READY=1')
    })
  }
  notify(ctx, 'READY=1')
  if (!signal.aborted) await once(signal, 'abort')
  notify(ctx, 'STOPPING=1')
  await reloads
}

function notify({ env, log }: CommandContext<'server'>, state: string): void {
  const failure = notifySystemd(state, env)
  if (failure !== undefined) log.warn(`cannot notify systemd: ${failure}`)
}
