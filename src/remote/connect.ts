import { PgtsError } from '../util/error.ts'
import type { Channel } from './channel.ts'
import type { Connection, ConnectionOptions } from './connection.ts'
import {
  callingLine,
  parseCallingLine,
  parseServingLine,
  PROTOCOLS,
  readFirstLine,
  servingLine,
  type GreetedHost,
} from './greeting.ts'
import { Peer } from './peer.ts'

/**
 * The caller's end of a channel. If this rejects, the channel has been destroyed.
 *
 * @throws host-connect if the other end ends or does not greet in time; protocol if it is another program or release
 */
export async function connect(channel: Channel, options: ConnectionOptions & GreetedHost): Promise<Connection> {
  return greeted(channel, options, async (read) => {
    const { line, rest } = await read()
    const own = options.protocols ?? PROTOCOLS
    const { version, protocol } = parseServingLine(line, own, options)
    channel.output.write(callingLine(protocol))
    return new Peer({ channel, options, isCaller: true, protocol, peerVersion: version, rest })
  })
}

/** The serving end of a channel; see `connect`. */
export async function accept(channel: Channel, options: ConnectionOptions): Promise<Connection> {
  return greeted(channel, options, async (read) => {
    const own = options.protocols ?? PROTOCOLS
    channel.output.write(servingLine(own))
    const { line, rest } = await read()
    const { version, protocol } = parseCallingLine(line, own)
    return new Peer({ channel, options, isCaller: false, protocol, peerVersion: version, rest })
  })
}

type ReadLine = () => Promise<{ readonly line: Buffer; readonly rest: Buffer }>

async function greeted(
  channel: Channel,
  { ioTimeoutMs, signal }: ConnectionOptions,
  greet: (read: ReadLine) => Promise<Connection>,
): Promise<Connection> {
  const late = new AbortController()
  const timer = setTimeout(() => late.abort(silent(channel, ioTimeoutMs)), ioTimeoutMs)
  const limits = signal === undefined ? late.signal : AbortSignal.any([late.signal, signal])
  try {
    return await greet(async () => {
      const read = await readFirstLine(channel.input, limits)
      if (read !== undefined) return read
      const reason = await channel.explainEnd()
      throw unreachable(channel, `terminated unexpectedly${reason ?? ''}`)
    })
  } catch (error) {
    channel.destroy()
    throw error
  } finally {
    clearTimeout(timer)
  }
}

function silent(channel: Channel, ms: number): PgtsError {
  return unreachable(channel, `has sent no greeting within ${ms / 1000} s (io-timeout)`)
}

function unreachable({ display, hint }: Channel, what: string): PgtsError {
  return new PgtsError('host-connect', `${display} ${what}`, { hints: hint === undefined ? [] : [hint] })
}
