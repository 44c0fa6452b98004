import type { OptionsOf } from '../../config/resolve.ts'
import { messageOf } from '../../util/error.ts'
import type { CommandContext } from '../context.ts'
import { Connections } from './connections.ts'
import { listen, type ListenAddress, type Listener } from './listen.ts'
import type { ServerSettings } from './messages.ts'
import type { ServerPorts } from './ports.ts'
import { loadSettings } from './settings.ts'

/** A listening socket and the connections accepted from it. */
export class RunningServer implements AsyncDisposable {
  readonly #ctx: CommandContext<'server'>
  readonly #ports: ServerPorts
  readonly #connections: Connections
  #listener: Listener | undefined

  private constructor(ctx: CommandContext<'server'>, ports: ServerPorts, settings: ServerSettings) {
    this.#ctx = ctx
    this.#ports = ports
    this.#connections = new Connections(ports.startConnection, settings, ctx.log)
  }

  /** @throws PgtsError for a certificate, a key or an address that cannot be used */
  static async start(ctx: CommandContext<'server'>, ports: ServerPorts): Promise<RunningServer> {
    const running = new RunningServer(ctx, ports, await load(ctx, ports, ctx.options))
    try {
      await running.#listen(addressOf(ctx.options))
    } catch (error) {
      await running[Symbol.asyncDispose]()
      throw error
    }
    return running
  }

  /** Reads configuration and certificates again. After an error, which is logged, the previous ones stay in use. */
  async reload(): Promise<void> {
    const { log } = this.#ctx
    try {
      const options = await this.#ports.readOptions()
      const settings = await load(this.#ctx, this.#ports, options)
      await this.#listen(addressOf(options))
      this.#connections.use(settings)
      log.info('configuration and certificates were loaded again')
    } catch (error) {
      log.error(`cannot load the configuration again, so the previous one stays in use: ${messageOf(error)}`)
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#listener?.[Symbol.dispose]()
    await this.#connections.close()
  }

  async #listen(address: ListenAddress): Promise<void> {
    const former = this.#listener
    if (former?.address.host === address.host && former.address.port === address.port) return
    this.#listener = await listen(address, (socket) => this.#connections.take(socket), this.#ctx.log)
    former?.[Symbol.dispose]()
  }
}

function addressOf(options: OptionsOf<'server'>): ListenAddress {
  return { host: options.tlsServerAddress, port: options.tlsServerPort }
}

function load(
  { clock, log }: CommandContext<'server'>,
  { configArguments }: ServerPorts,
  options: OptionsOf<'server'>,
): Promise<ServerSettings> {
  return loadSettings(options, configArguments, { log, nowMs: clock.nowMs() })
}
