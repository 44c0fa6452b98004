import type { Socket } from 'node:net'
import type { FromConnection, ToConnection } from '../../commands/server/messages.ts'
import { serve, type Served, type ServingHost } from '../../core/serve/serve.ts'
import { socketChannel } from '../../remote/channel.ts'
import type { OpenRequest } from '../../remote/open.ts'
import { acceptTls, identityOf, type PeerIdentity } from '../../remote/tls/accept-tls.ts'
import { bytesToText, textToBytes } from '../../util/byte-string.ts'
import { messageOf, PgtsError } from '../../util/error.ts'
import { processDirectory, processEnvironment } from '../process-input.ts'
import { TerminalProgress } from '../progress.ts'
import { contextFor } from '../remote/context-for.ts'
import { authorise } from './authorise.ts'

/** Commands whose resident process keeps its connection between calls. */
const KEEPING: readonly string[] = ['archive-get', 'archive-push']

type Order = Extract<ToConnection, { kind: 'connection' }>

/** The process of one connection: it waits for a socket of the server, serves it, and ends with the connection. */
export async function serveConnection(program: string, signal: AbortSignal): Promise<number> {
  const taken = await takeSocket(signal)
  try {
    if (taken !== undefined) await serveSocket(taken.order, taken.socket, { program, signal })
  } catch (error) {
    report({ kind: 'refused', why: shown(messageOf(error)) })
  } finally {
    // The channel to the server would keep this process running.
    process.removeAllListeners('message')
    if (process.connected) process.disconnect()
  }
  return 0
}

interface Run {
  readonly program: string
  readonly signal: AbortSignal
}

/** @returns undefined if this process is to end before it has a socket */
function takeSocket(signal: AbortSignal): Promise<{ readonly order: Order; readonly socket: Socket } | undefined> {
  if (process.send === undefined) {
    throw new PgtsError('command-invalid', 'only pgts server starts this process', {
      hints: ['use pgts server; for sshd: pgts server:remote STANZA'],
    })
  }
  return new Promise((resolve) => {
    const end = () => resolve(undefined)
    process.on('message', (message: ToConnection, socket?: Socket) => {
      if (message.kind !== 'connection') return
      report({ kind: 'taken' })
      // Without a socket the client has left.
      resolve(socket === undefined ? undefined : { order: message, socket })
    })
    process.once('disconnect', end)
    signal.addEventListener('abort', end, { once: true })
    report({ kind: 'ready' })
  })
}

async function serveSocket({ address, settings }: Order, raw: Socket, { program, signal }: Run): Promise<void> {
  const { certificates, ioTimeoutMs, protocolTimeoutMs } = settings
  let [opened, isOutdated] = [false, false]
  const session: { served?: Served } = {}
  /** Only archiving keeps a connection without work; a command that is running must not lose its own. */
  let isKept = false
  const closeIfOutdated = () => {
    if (isOutdated && isKept) session.served?.closeWhenIdle('the configuration of that host has changed')
  }
  process.on('message', ({ kind }: ToConnection) => {
    if (kind !== 'close-when-idle') return
    isOutdated = true
    closeIfOutdated()
  })
  const leave = () => {
    if (!opened) raw.destroy()
  }
  signal.addEventListener('abort', leave, { once: true })
  // A server that was killed does not limit the time of a handshake any more.
  process.once('disconnect', leave)
  const socket = await acceptTls(raw, certificates, ioTimeoutMs)
  if (socket === undefined) return
  const identity = identityOf(socket)
  const host: ServingHost = {
    contextFor: async (request, log) => {
      const client = checked(request, identity, settings)
      const context = await contextFor(request, {
        allowed: settings.rights.get(client) ?? new Set(),
        commandLine: () => settings.configArguments,
        around: {
          log,
          signal,
          progress: new TerminalProgress('none'),
          env: processEnvironment(),
          cwd: processDirectory(),
          program,
          continueAs: () => undefined,
          learnSecret: () => undefined,
        },
      })
      opened = true
      isKept = KEEPING.includes(request.command)
      // After the answer, if the configuration changed during the handshake.
      setTimeout(closeIfOutdated, 1000).unref()
      report({ kind: 'opened', what: shown(`client '${client}' runs ${describe(request)}`) })
      return context
    },
  }
  const channel = socketChannel(socket, `the client at ${address}`)
  session.served = await serve(channel, host, { ioTimeoutMs, protocolTimeoutMs, signal })
  await session.served.ended
}

/** @returns the client's name. @throws PgtsError; the server logs it, too */
function checked(request: OpenRequest, identity: PeerIdentity, { rights }: Order['settings']): string {
  try {
    return authorise(request, identity, rights)
  } catch (error) {
    report({ kind: 'refused', why: shown(`${messageOf(error)} (${describe(request)})`) })
    throw error
  }
}

function describe({ command, stanza, kind, key }: OpenRequest): string {
  return `${command} on ${kind}${key}${stanza === undefined ? '' : ` of stanza '${stanza}'`}`
}

/** Names in a request and in a certificate can be any text. */
function shown(text: string): string {
  return bytesToText(textToBytes(text))
}

/** The server may have ended. */
function report(message: FromConnection): void {
  if (process.connected) process.send?.(message, undefined, undefined, () => undefined)
}
