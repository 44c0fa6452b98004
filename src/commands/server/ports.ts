import type { Socket } from 'node:net'
import type { OptionsOf } from '../../config/resolve.ts'
import type { FromConnection, ToConnection } from './messages.ts'

/** A process that serves one connection. */
export interface ConnectionProcess {
  readonly pid: number
  /** @param socket stays open at this end */
  send(message: ToConnection, socket?: Socket): void
  kill(signal: NodeJS.Signals): void
}

export interface ConnectionEvents {
  onMessage(message: FromConnection): void
  /** Called once. @param how `with exit code 1` */
  onEnd(how: string): void
}

export type StartConnection = (events: ConnectionEvents) => ConnectionProcess

/** What `server` needs of the terminal layer. */
export interface ServerPorts {
  readonly configArguments: readonly string[]
  startConnection: StartConnection
  /** Reads the configuration again. */
  readOptions(): Promise<OptionsOf<'server'>>
  /** Calls back for each SIGHUP, which does not end this process any more, until disposed. */
  onHangUp(act: () => void): Disposable
}
