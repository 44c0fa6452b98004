import { threadId } from 'node:worker_threads'
import { PgtsError } from '../util/error.ts'
import { loadModule } from '../util/load-module.ts'
import type { Logger } from '../util/log.ts'
import { socketChannel, type Channel } from './channel.ts'
import { connect } from './connect.ts'
import type { Connection, Handler, RemoteLog } from './connection.ts'
import { openVerb, type OpenAnswer, type OpenRequest } from './open.ts'
import type { SshTarget } from './ssh.ts'
import type { TlsTarget } from './tls/connect-tls.ts'

/** A process on another host as plain data, so that each thread can open its own connection. */
export interface HostDescription {
  readonly host: string
  /** The option that names the program there, for hints: `repo1-host-cmd`. */
  readonly hostCommandOption: string
  readonly transport: Transport
  readonly open: Omit<OpenRequest, 'process'>
}

/** How the process is reached. `args` of ssh without `--process`. */
export type Transport =
  | ({ readonly kind: 'ssh' } & Omit<SshTarget, 'process' | 'host'>)
  | ({ readonly kind: 'tls' } & Omit<TlsTarget, 'host'>)

export interface OpenedHost {
  readonly connection: Connection
  readonly answer: OpenAnswer
}

export interface OpenHostOptions {
  /** Requests that the other end may send. */
  readonly handlers?: readonly Handler[]
  readonly onLog?: (record: RemoteLog) => void
  readonly signal?: AbortSignal
  /** Number of the connection; default: that of this thread. 0 is the main one. */
  readonly process?: number
}

/** Starts a process on another host and opens what it serves. */
export async function openHost(description: HostDescription, options: OpenHostOptions = {}): Promise<OpenedHost> {
  return openOver(await openChannel(description, options), description, options)
}

/** Greets and opens over this channel; if it rejects, the channel has been destroyed. */
export async function openOver(
  channel: Channel,
  description: HostDescription,
  options: OpenHostOptions,
): Promise<OpenedHost> {
  const { host, open, transport } = description
  const hostCommandOption = transport.kind === 'ssh' ? description.hostCommandOption : undefined
  const { ioTimeoutMs, protocolTimeoutMs } = open
  const connection = await connect(channel, { ...options, host, hostCommandOption, ioTimeoutMs, protocolTimeoutMs })
  try {
    return { connection, answer: await opened(connection, channel, open, options) }
  } catch (error) {
    await connection[Symbol.asyncDispose]()
    throw error
  }
}

async function opened(
  connection: Connection,
  channel: Channel,
  open: HostDescription['open'],
  { signal, process = threadId }: OpenHostOptions,
): Promise<OpenAnswer> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => {
      reject(notOpened(connection, open))
      // The other end answers pings, but its storage hangs: it would not leave in time.
      channel.destroy()
    }, open.protocolTimeoutMs)
  })
  try {
    return await Promise.race([connection.call(openVerb, { ...open, process }, { signal }), late])
  } finally {
    clearTimeout(timer)
  }
}

function notOpened({ display }: Connection, { kind, key, protocolTimeoutMs }: HostDescription['open']): PgtsError {
  const what = `${display} has not opened ${kind}${key} within ${protocolTimeoutMs / 1000} s (protocol-timeout)`
  return new PgtsError('host-connect', what, { hints: ['check the storage that this host uses'] })
}

/** Records of the other end become records of this one. */
export function logTo(log: Logger): (record: RemoteLog) => void {
  return ({ level, message }) => log[level](message)
}

async function openChannel(
  { host, transport, open }: HostDescription,
  { signal, process = threadId }: OpenHostOptions,
): Promise<Channel> {
  if (transport.kind === 'tls') {
    const { connectTls } = await loadModule(() => import('./tls/connect-tls.ts'))
    const socket = await connectTls({ ...transport, host }, { ioTimeoutMs: open.ioTimeoutMs, signal })
    return socketChannel(socket, `remote-${process} tls protocol on '${host}'`)
  }
  const { kind: _, args, ...target } = transport
  const { openSsh } = await loadModule(() => import('./ssh.ts'))
  return openSsh({ ...target, host, process, args: withProcess(args, process) })
}

/** Before the last word, the command. */
function withProcess(args: readonly string[], process: number): string[] {
  return [...args.slice(0, -1), `--process=${process}`, ...args.slice(-1)]
}
