import { createHash } from 'node:crypto'
import type { IncomingMessage } from 'node:http'
import { PgtsError } from '../../util/error.ts'
import type { ObjectUpload } from '../object/client.ts'
import { RetryableStoreError } from '../object/retryable-error.ts'
import type { ApiRequest, Doing, GcsApi } from './api.ts'

/** The size of every piece of a resumable upload except the last is a multiple of this. */
export const GRAIN_BYTES = 256 * 1024

/**
 * A resumable upload: pieces in order, one at a time. The object appears with the last piece. The service discards an
 * unfinished session after a week.
 *
 * The store may have stored a part of a piece whose answer was lost, so before a piece is sent again the store is asked
 * how many bytes it has. Bytes beyond the last multiple of the grain are kept for `complete`, because only it knows the
 * end.
 *
 * @see https://cloud.google.com/storage/docs/performing-resumable-uploads
 */
export class ResumableUpload implements ObjectUpload {
  readonly #api: GcsApi
  readonly #doing: Doing
  readonly #session: string
  readonly #removal: (generation: string) => ApiRequest
  /** Bytes that the store has confirmed. */
  #stored = 0
  /** The part that comes next, and its offset in the object. */
  #nextPart = 1
  #nextOffset = 0
  #rest: Uint8Array = Buffer.alloc(0)
  readonly #digest = createHash('md5')
  #md5: string | undefined
  /** The last request got no answer: the store may have more than `#stored`. */
  #unsure = false

  /**
   * @param session URL of the upload; it authorises writing, so no message contains it
   * @param removal builds the request that removes one version of the object
   */
  constructor(api: GcsApi, doing: Doing, session: string, removal: (generation: string) => ApiRequest) {
    this.#api = api
    this.#doing = doing
    this.#session = session
    this.#removal = removal
  }

  async part(number: number, bytes: Uint8Array, signal?: AbortSignal): Promise<void> {
    if (number < this.#nextPart) return
    if (number > this.#nextPart || this.#rest.length > 0) {
      const due = `part ${number} was sent, but part ${this.#nextPart} is expected`
      throw new PgtsError('assert', `${this.#doing.action}: ${due}`)
    }
    const whole = bytes.length - (bytes.length % GRAIN_BYTES)
    if (await this.#sendPiece(bytes.subarray(0, whole), signal))
      throw new PgtsError('protocol', `${this.#doing.action}: the store ended the upload before the last part`)
    this.#digest.update(bytes)
    this.#rest = Buffer.from(bytes.subarray(whole))
    this.#nextOffset += whole
    this.#nextPart = number + 1
  }

  async complete(signal?: AbortSignal): Promise<void> {
    const total = this.#nextOffset + this.#rest.length
    const md5 = (this.#md5 ??= this.#digest.digest('base64'))
    let object = this.#unsure ? await this.#ask(String(total), signal) : undefined
    if (object === undefined) {
      const body = this.#rest.subarray(Math.max(0, this.#stored - this.#nextOffset))
      const range = body.length === 0 ? '*' : `${this.#stored}-${total - 1}`
      // The store compares this before the object appears.
      object = (await this.#send(`${range}/${total}`, body, signal, { 'x-goog-hash': `md5=${md5}` })).object
      this.#unsure = object === undefined
      if (object === undefined)
        throw new RetryableStoreError(`${this.#doing.action}: the store expects more than ${total} bytes`)
    }
    await this.#check(object, total, md5, signal)
  }

  async abort(): Promise<void> {
    try {
      const request: ApiRequest = { method: 'DELETE', url: this.#session }
      const response = await this.#api.open(this.#doing, request, [404, 410, 499])
      response.resume()
    } catch {
      // The store discards the session after a week.
    }
  }

  /** @returns true if the store reports the object as finished, which is too early */
  async #sendPiece(piece: Uint8Array, signal: AbortSignal | undefined): Promise<boolean> {
    const begin = this.#nextOffset
    const end = begin + piece.length
    if (this.#unsure && (await this.#ask('*', signal)) !== undefined) return true
    if (this.#stored < begin || this.#stored > end) {
      this.#unsure = true
      throw new RetryableStoreError(`${this.#doing.action}: the store has ${this.#stored} bytes of ${begin} to ${end}`)
    }
    while (this.#stored < end) {
      const before = this.#stored
      const { response, object } = await this.#send(`${before}-${end - 1}/*`, piece.subarray(before - begin), signal)
      if (object !== undefined) return true
      this.#stored = storedBytes(response)
      if (this.#stored > before) continue
      this.#unsure = true
      throw new RetryableStoreError(`${this.#doing.action}: the store accepts no more bytes`)
    }
    return false
  }

  async #check(object: Finished, total: number, md5: string, signal: AbortSignal | undefined): Promise<void> {
    const { action } = this.#doing
    if (object.sizeBytes !== total)
      throw new PgtsError('protocol', `${action}: the store has ${object.sizeBytes} of ${total} bytes`)
    if (object.md5Hash === undefined || object.md5Hash === md5) return
    if (object.generation !== undefined)
      (await this.#api.open(this.#doing, { ...this.#removal(object.generation), signal })).resume()
    throw new PgtsError('checksum', `${action}: the bytes were corrupted in transit`, {
      hints: [
        'run the command again; if the error repeats, check proxies and gateways between this host and the store',
      ],
    })
  }

  /** Asks how many bytes the store has. Returns the object if it is finished. */
  async #ask(total: string, signal: AbortSignal | undefined): Promise<Finished | undefined> {
    const { response, object } = await this.#send(`*/${total}`, Buffer.alloc(0), signal)
    if (object === undefined) this.#stored = storedBytes(response)
    return object
  }

  async #send(range: string, body: Uint8Array, signal: AbortSignal | undefined, headers = {}) {
    const api = this.#api
    const doing = this.#doing
    this.#unsure = true
    const request: ApiRequest = {
      method: 'PUT',
      url: this.#session,
      headers: { 'content-range': `bytes ${range}`, ...headers },
      body,
      signal,
    }
    const response = await api.open(doing, request, [308])
    const answer = await api.body(doing, response, signal)
    const object = response.statusCode === 308 ? undefined : finished(api, doing, response, answer)
    // The status is also used for redirects, which carry a location.
    if (object === undefined && response.headers.location !== undefined)
      throw api.unproven(doing, response, 'a redirect', answer.toString('utf8'))
    this.#unsure = false
    return { response, object }
  }
}

interface Finished {
  readonly sizeBytes: number
  readonly md5Hash?: string
  readonly generation?: string
}

function finished(api: GcsApi, doing: Doing, response: IncomingMessage, body: Buffer): Finished {
  const { size, ...object } = api.resourceIn(doing, 'storage#object', response, body)
  return { ...(object as Partial<Finished>), sizeBytes: Number(size) }
}

/** `range: bytes=0-262143`; absent when nothing was stored. */
function storedBytes(response: IncomingMessage): number {
  const last = /-(\d+)$/.exec(String(response.headers.range ?? ''))?.[1]
  return last === undefined ? 0 : Number(last) + 1
}
