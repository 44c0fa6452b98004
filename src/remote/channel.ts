import { Socket } from 'node:net'
import type { Duplex, Readable, Writable } from 'node:stream'
import type { Text } from '../util/byte-string.ts'
import { messageOf } from '../util/error.ts'

/** Bytes to and from another process. The errors of both streams have a listener. */
export interface Channel {
  readonly input: Readable
  readonly output: Writable
  /** Each read returns 16 KiB at most, as by TLS, so the bytes of a frame are joined. */
  readonly hasSmallReads?: boolean
  /** For messages: `remote-1 ssh protocol on 'HOST'`. */
  readonly display: string
  /** What an operator can check if it ends before the greeting. */
  readonly hint?: Text
  /** Why it has ended, as the end of a message: ` [255]: Permission denied`. May wait for some seconds. */
  explainEnd(): Promise<string | undefined>
  /** Ends it at once. */
  destroy(): void
  /** Resolves when it has ended completely. Never rejects. */
  readonly closed: Promise<void>
}

/** A connected socket of TLS. */
export function socketChannel(socket: Duplex, display: string): Channel {
  let failure: string | undefined
  socket.on('error', (error) => (failure ??= `: ${messageOf(error)}`))
  return {
    input: socket,
    output: socket,
    hasSmallReads: true,
    display,
    explainEnd: async () => failure,
    destroy: () => void socket.destroy(),
    closed: new Promise((resolve) => socket.once('close', resolve)),
  }
}

/**
 * Standard input and output of this process, for a serving end that sshd has started. Nothing else may write to them.
 *
 * @param display `client ssh protocol`
 */
export function standardChannel(display: string): Channel {
  // Unlike process.stdout, a socket of its own can be ended.
  const input = new Socket({ fd: 0, readable: true, writable: false })
  const output = new Socket({ fd: 1, readable: false, writable: true })
  let failure: string | undefined
  for (const stream of [input, output]) stream.on('error', (error) => (failure ??= `: ${messageOf(error)}`))
  const closed = Promise.all([input, output].map((stream) => new Promise((resolve) => stream.once('close', resolve))))
  return {
    input,
    output,
    display,
    explainEnd: async () => failure,
    destroy: () => {
      input.destroy()
      output.destroy()
    },
    closed: closed.then(() => undefined),
  }
}
