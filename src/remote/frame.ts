import { PgtsError } from '../util/error.ts'
import { MOST_LOG, MOST_PAYLOAD } from './limits.ts'

/** Kinds of frames and their numbers. */
export const FRAME = {
  request: 1,
  answer: 2,
  data: 3,
  end: 4,
  credit: 5,
  cancel: 6,
  error: 7,
  ping: 8,
  pong: 9,
  log: 10,
  bye: 11,
} as const
export type FrameType = (typeof FRAME)[keyof typeof FRAME]

export interface Frame {
  readonly type: FrameType
  /** The message continues in the next frame of this stream; of DATA, the frame continues in the next piece. */
  readonly more: boolean
  /** DATA and END of this end follow. */
  readonly body: boolean
  /** 0 is the connection. */
  readonly stream: number
  readonly payload: Buffer
}

export const HEADER_BYTES = 12
const MORE = 1
const BODY = 2

/** Which flags a type may have, and the range of its payload. Types from PING on belong to the connection, others to a stream. */
const RULES: Readonly<Record<FrameType, { readonly flags: number; readonly least: number; readonly most: number }>> = {
  [FRAME.request]: { flags: MORE | BODY, least: 1, most: MOST_PAYLOAD },
  [FRAME.answer]: { flags: MORE | BODY, least: 1, most: MOST_PAYLOAD },
  [FRAME.data]: { flags: 0, least: 1, most: MOST_PAYLOAD },
  [FRAME.end]: { flags: MORE, least: 1, most: MOST_PAYLOAD },
  [FRAME.credit]: { flags: 0, least: 4, most: 4 },
  [FRAME.cancel]: { flags: 0, least: 0, most: 0 },
  [FRAME.error]: { flags: MORE, least: 1, most: MOST_PAYLOAD },
  [FRAME.ping]: { flags: 0, least: 8, most: 8 },
  [FRAME.pong]: { flags: 0, least: 8, most: 8 },
  [FRAME.log]: { flags: 0, least: 1, most: MOST_LOG },
  [FRAME.bye]: { flags: 0, least: 1, most: MOST_LOG },
}

export interface FrameHead {
  readonly type: FrameType
  readonly more?: boolean
  readonly body?: boolean
  readonly stream?: number
}

export function encodeFrame(head: FrameHead, payload: Uint8Array): Buffer {
  const frame = Buffer.allocUnsafe(HEADER_BYTES + payload.length)
  writeHeader(frame, head, payload.length)
  frame.set(payload, HEADER_BYTES)
  return frame
}

/** Writes the header into the first bytes of the buffer, in which the payload follows. */
export function writeHeader(frame: Buffer, { type, more, body, stream = 0 }: FrameHead, payloadBytes: number): void {
  frame.writeUInt32BE(payloadBytes, 0)
  frame[4] = type
  frame[5] = (more === true ? MORE : 0) | (body === true ? BODY : 0)
  frame.writeUInt16BE(0, 6)
  frame.writeUInt32BE(stream, 8)
}

interface Header extends Omit<Frame, 'payload'> {
  readonly payloadBytes: number
}

/** Splits received bytes into frames. Holds at most one payload. */
export class FrameDecoder {
  /** The beginning of a header. */
  readonly #head = Buffer.allocUnsafe(HEADER_BYTES)
  #headUsed = 0
  #header: Header | undefined
  /** The beginning of the payload of `#header`. */
  #payload: Buffer | undefined
  #payloadUsed = 0
  readonly #joinsData: boolean

  /** @param joinsData false: DATA is returned in the pieces in which it arrives, without a copy */
  constructor({ joinsData = true }: { readonly joinsData?: boolean } = {}) {
    this.#joinsData = joinsData
  }

  /**
   * The frames that these bytes complete; all must be taken. A payload may be a view of the bytes.
   *
   * @throws protocol for an invalid header; then the decoder must not be used again
   */
  *push(bytes: Buffer): Generator<Frame, void, undefined> {
    for (let at = 0; at < bytes.length || this.#header?.payloadBytes === 0;) {
      if (this.#header === undefined) at = this.#readHeader(bytes, at)
      else {
        const { payload, end } = this.#readPayload(this.#header, bytes, at)
        at = end
        if (payload !== undefined) yield this.#complete(this.#header, payload)
      }
    }
  }

  #readHeader(bytes: Buffer, from: number): number {
    const end = Math.min(bytes.length, from + HEADER_BYTES - this.#headUsed)
    bytes.copy(this.#head, this.#headUsed, from, end)
    this.#headUsed += end - from
    if (this.#headUsed === HEADER_BYTES) {
      this.#headUsed = 0
      this.#header = parseHeader(this.#head)
    }
    return end
  }

  #readPayload(
    { type, payloadBytes }: Header,
    bytes: Buffer,
    from: number,
  ): { readonly payload: Buffer | undefined; readonly end: number } {
    const end = Math.min(bytes.length, from + payloadBytes - this.#payloadUsed)
    const part = bytes.subarray(from, end)
    if (part.length === payloadBytes) return { payload: part, end }
    if (type === FRAME.data && !this.#joinsData) {
      this.#payloadUsed += part.length
      return { payload: part, end }
    }
    const payload = (this.#payload ??= Buffer.allocUnsafeSlow(payloadBytes))
    payload.set(part, this.#payloadUsed)
    this.#payloadUsed += part.length
    return { payload: this.#payloadUsed === payloadBytes ? payload : undefined, end }
  }

  #complete({ type, more, body, stream, payloadBytes }: Header, payload: Buffer): Frame {
    const isPiece = this.#payloadUsed > 0 && this.#payloadUsed < payloadBytes
    if (isPiece) return { type, more: true, body, stream, payload }
    this.#header = undefined
    this.#payload = undefined
    this.#payloadUsed = 0
    return { type, more, body, stream, payload }
  }
}

function parseHeader(head: Buffer): Header {
  const payloadBytes = head.readUInt32BE(0)
  const type = head[4] as FrameType
  const flags = head[5]!
  const stream = head.readUInt32BE(8)
  const rule: (typeof RULES)[FrameType] | undefined = RULES[type]
  if (rule === undefined) throw invalid(`type ${type}`)
  if ((flags & ~rule.flags) !== 0) throw invalid(`flags ${flags} of type ${type}`)
  if (head.readUInt16BE(6) !== 0) throw invalid('reserved bytes')
  if ((stream === 0) !== type >= FRAME.ping) throw invalid(`stream ${stream} of type ${type}`)
  if (payloadBytes < rule.least || payloadBytes > rule.most) throw invalid(`${payloadBytes} bytes of type ${type}`)
  return { type, more: (flags & MORE) !== 0, body: (flags & BODY) !== 0, stream, payloadBytes }
}

function invalid(reason: string): PgtsError {
  return new PgtsError('protocol', `invalid frame: ${reason}`)
}
