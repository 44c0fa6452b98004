import type { Readable } from 'node:stream'
import { bytesToText } from '../util/byte-string.ts'
import { PgtsError } from '../util/error.ts'
import { isObject } from '../util/is-object.ts'
import { pgtsVersion } from '../util/version.ts'
import { shownBytes } from './errors.ts'
import { MOST_GREETING } from './limits.ts'

/** The protocol numbers that a release supports, both inclusive. */
export type ProtocolRange = readonly [from: number, to: number]

export const PROTOCOLS: ProtocolRange = [1, 1]

/** A client of pgBackRest quotes this name in its error, so it contains the hint. */
const SERVING_NAME = 'pgts (install pgts on both hosts)'
const CALLING_NAME = 'pgts'

/** What the other end has sent, and the bytes after it. */
export interface Greeting {
  readonly version: string
  readonly protocol: number
  readonly rest: Buffer
}

/** The other end of a caller, for its errors. */
export interface GreetedHost {
  readonly host: string
  /** The option for the program on that host: `repo1-host-cmd`. Absent for TLS: its server was started there. */
  readonly hostCommandOption?: string
}

export function servingLine(protocols: ProtocolRange): string {
  return `${JSON.stringify({ name: SERVING_NAME, version: pgtsVersion, protocol: protocols })}\n`
}

export function callingLine(protocol: number): string {
  return `${JSON.stringify({ name: CALLING_NAME, version: pgtsVersion, protocol })}\n`
}

/**
 * The first line from the serving end, for its caller.
 *
 * @returns the highest number that both ends have
 * @throws protocol
 */
export function parseServingLine(
  line: Buffer,
  own: ProtocolRange,
  host: GreetedHost,
): { readonly version: string; readonly protocol: number } {
  const { name, version, protocol } = parseLine(line)
  const at = `on '${host.host}'`
  if (typeof version === 'string' && name === 'pgBackRest') {
    const { hostCommandOption: option } = host
    const hint =
      option === undefined
        ? 'stop pgbackrest server on that host, and start pgts server'
        : `set ${option} to the path of pgts on that host, or install pgts there as pgbackrest`
    throw new PgtsError('protocol', `the program ${at} is pgBackRest ${version}, not pgts`, { hints: [hint] })
  }
  if (typeof name !== 'string' || !name.startsWith('pgts') || typeof version !== 'string' || !isRange(protocol))
    throw notPgts(line, at)
  const highest = Math.min(own[1], protocol[1])
  if (highest < own[0] || highest < protocol[0]) {
    const older = own[1] < protocol[0] ? 'this host' : `'${host.host}'`
    throw new PgtsError(
      'protocol',
      `pgts ${version} ${at} has the protocols ${rangeText(protocol)}, pgts ${pgtsVersion} here has ${rangeText(own)}`,
      { hints: [`upgrade pgts on ${older}`] },
    )
  }
  return { version, protocol: highest }
}

/** The first line from a caller. @throws protocol */
export function parseCallingLine(
  line: Buffer,
  own: ProtocolRange,
): { readonly version: string; readonly protocol: number } {
  const { name, version, protocol } = parseLine(line)
  if (name !== CALLING_NAME || typeof version !== 'string' || typeof protocol !== 'number') throw notPgts(line, 'there')
  if (!Number.isInteger(protocol) || protocol < own[0] || protocol > own[1])
    throw new PgtsError('protocol', `pgts ${version} there uses protocol ${protocol}, this one has ${rangeText(own)}`)
  return { version, protocol }
}

function parseLine(line: Buffer): { readonly name?: unknown; readonly version?: unknown; readonly protocol?: unknown } {
  try {
    const parsed: unknown = JSON.parse(line.toString('utf8'))
    return isObject(parsed) ? parsed : {}
  } catch {
    return {}
  }
}

function isRange(value: unknown): value is ProtocolRange {
  return Array.isArray(value) && value.length === 2 && value.every(Number.isInteger) && value[0] <= value[1]
}

function rangeText([from, to]: ProtocolRange): string {
  return from === to ? `${from}` : `${from} to ${to}`
}

function notPgts(line: Buffer, at: string): PgtsError {
  const shown = line.length === 0 ? 'nothing' : `'${bytesToText(shownBytes(line))}'`
  return new PgtsError('protocol', `the program ${at} is not pgts: it sent ${shown}`, {
    hints: [
      "remove output from the start files of that user's shell (.bashrc, .profile)",
      'check which program listens on the port',
    ],
  })
}

/**
 * The first line of a stream, without its end, and the bytes after it. The stream is paused then.
 *
 * @returns undefined if the stream ends before anything; a line that is too long or incomplete is returned as it is
 */
export function readFirstLine(
  input: Readable,
  signal: AbortSignal,
): Promise<{ readonly line: Buffer; readonly rest: Buffer } | undefined> {
  return new Promise((resolve, reject) => {
    let got: Buffer = Buffer.alloc(0)
    const settle = (settled: () => void) => {
      input.off('data', onData).off('end', onEnd).off('close', onEnd).off('error', onEnd)
      signal.removeEventListener('abort', onAbort)
      input.pause()
      settled()
    }
    const onData = (chunk: Buffer) => {
      got = Buffer.concat([got, chunk])
      const end = got.indexOf('\n')
      if (end === -1 ? got.length > MOST_GREETING : end >= 0)
        settle(() =>
          resolve(
            end === -1
              ? { line: got, rest: Buffer.alloc(0) }
              : { line: got.subarray(0, end), rest: got.subarray(end + 1) },
          ),
        )
    }
    const onEnd = () => settle(() => resolve(got.length === 0 ? undefined : { line: got, rest: Buffer.alloc(0) }))
    const onAbort = () => settle(() => reject(signal.reason as Error))
    if (signal.aborted) return reject(signal.reason as Error)
    signal.addEventListener('abort', onAbort, { once: true })
    input.on('end', onEnd).on('close', onEnd).on('error', onEnd).on('data', onData)
  })
}
