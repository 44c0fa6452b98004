import { enlarged } from '../util/bytes.ts'
import { PgtsError } from '../util/error.ts'
import { FRAME, type Frame, type FrameType } from './frame.ts'
import { MOST_MESSAGE, MOST_UNANSWERED } from './limits.ts'
import { tooLarge } from './value.ts'

/** A complete message of one or more frames. */
export interface Message {
  readonly type: FrameType
  readonly body: boolean
  readonly stream: number
  readonly bytes: Buffer
}

interface Part extends Message {
  readonly usedBytes: number
}

const MESSAGES: ReadonlySet<FrameType> = new Set([FRAME.request, FRAME.answer, FRAME.end, FRAME.error])

/** Joins the frames of messages. The requests that have no answer count until `release`. */
export class MessageJoiner {
  readonly #parts = new Map<number, Part>()
  #heldBytes = 0

  /**
   * The message that this frame completes.
   *
   * @throws protocol
   */
  add(frame: Frame): Message | undefined {
    const { type, body, stream, payload, more } = frame
    const part = this.#parts.get(stream)
    if (part === undefined && !more) {
      if (type === FRAME.request) this.#hold(payload.length)
      return { type, body, stream, bytes: payload }
    }
    if (part !== undefined && (part.type !== type || part.body !== body)) throw interrupted()
    this.#hold(payload.length)
    const usedBytes = (part?.usedBytes ?? 0) + payload.length
    if (usedBytes > MOST_MESSAGE) throw tooLarge()
    let bytes = part?.bytes ?? Buffer.alloc(0)
    if (usedBytes > bytes.length) bytes = enlarged(bytes, part?.usedBytes ?? 0, usedBytes)
    bytes.set(payload, usedBytes - payload.length)
    if (more) {
      this.#parts.set(stream, { type, body, stream, bytes, usedBytes })
      return undefined
    }
    this.#parts.delete(stream)
    if (type !== FRAME.request) this.release(usedBytes)
    return { type, body, stream, bytes: bytes.subarray(0, usedBytes) }
  }

  /** True for frames that `add` joins. @throws protocol for bytes of a body inside of a message */
  accepts({ type, stream }: Frame): boolean {
    if (MESSAGES.has(type)) return true
    if (type === FRAME.data && this.#parts.has(stream)) throw interrupted()
    return false
  }

  /** A request has been answered. */
  release(bytes: number): void {
    this.#heldBytes -= bytes
  }

  #hold(bytes: number): void {
    this.#heldBytes += bytes
    if (this.#heldBytes > MOST_UNANSWERED)
      throw new PgtsError('protocol', `the messages without an answer are larger than ${MOST_UNANSWERED} bytes`)
  }
}

function interrupted(): PgtsError {
  return new PgtsError('protocol', 'a message was interrupted by another one of its stream')
}
