import { createHash } from 'node:crypto'
import type { IncomingMessage } from 'node:http'
import { PgtsError } from '../../util/error.ts'
import type { ObjectUpload } from '../object/client.ts'
import { StoreTrouble } from '../object/trouble.ts'
import type { ApiRequest, Doing, GcsApi } from './api.ts'

/** Pieces of a resumable upload but the last are a multiple of this. */
export const GRAIN_BYTES = 256 * 1024

/**
 * A resumable upload: pieces in their order, one at a time. The service shows nothing before the last one, and forgets
 * the session after a week.
 *
 * The store may have kept a part of a piece whose answer was lost, so a piece that is sent again first asks how much is
 * there. The odd end of the last piece is kept back for `complete`, which alone knows that it is the end.
 *
 * @param session address of the upload; who knows it may write, so it goes into no message
 * @param removal takes an object of a certain generation away again
 * @see https://cloud.google.com/storage/docs/performing-resumable-uploads
 */
export function resumableUpload(
  api: GcsApi,
  doing: Doing,
  session: string,
  removal: (generation: string) => ApiRequest,
): ObjectUpload {
  /** Bytes that the store has, as far as we know. */
  let stored = 0
  /** The part that comes next, and where it begins. */
  let next = 1
  let begins = 0
  let rest: Uint8Array = Buffer.alloc(0)
  const md5 = createHash('md5')
  let hash: string | undefined
  /** The last request has no answer that we saw: the store may have more than we know. */
  let unsure = false

  async function send(range: string, body: Uint8Array, signal: AbortSignal | undefined, headers = {}) {
    unsure = true
    const response = await api.open(
      doing,
      { method: 'PUT', url: session, headers: { 'content-range': `bytes ${range}`, ...headers }, body, signal },
      [308],
    )
    const answer = await api.body(doing, response, signal)
    const object = response.statusCode === 308 ? undefined : finished(api, doing, response, answer)
    // The status is also that of a redirect, which names another address.
    if (object === undefined && response.headers.location !== undefined)
      throw api.unproven(doing, response, 'a redirect', answer.toString('utf8'))
    unsure = false
    return { response, object }
  }

  /** Learn how much the store has. The finished object, if it is finished. */
  async function ask(total: string, signal: AbortSignal | undefined): Promise<Finished | undefined> {
    const { response, object } = await send(`*/${total}`, Buffer.alloc(0), signal)
    if (object === undefined) stored = storedBytes(response)
    return object
  }

  return {
    async part(number, bytes, signal) {
      if (number < next) return
      if (number > next || rest.length > 0) {
        throw new PgtsError('assert', `${doing.action}: part ${number} was sent when part ${next} was due`)
      }
      const whole = bytes.length - (bytes.length % GRAIN_BYTES)
      const begin = begins
      const end = begin + whole
      let early = unsure ? await ask('*', signal) : undefined
      if (stored < begin || stored > end) {
        unsure = true
        throw new StoreTrouble(`${doing.action}: the store has ${stored} bytes of ${begin} to ${end}`)
      }
      while (stored < end) {
        const before = stored
        const { response, object } = await send(`${stored}-${end - 1}/*`, bytes.subarray(stored - begin, whole), signal)
        early ??= object
        if (early !== undefined) break
        stored = storedBytes(response)
        if (stored > before) continue
        unsure = true
        throw new StoreTrouble(`${doing.action}: the store takes no more bytes`)
      }
      if (early !== undefined) throw new PgtsError('protocol', `${doing.action}: the store ended the upload early`)
      md5.update(bytes)
      rest = Buffer.from(bytes.subarray(whole))
      begins = end
      next = number + 1
    },

    async complete(signal) {
      const total = begins + rest.length
      hash ??= md5.digest('base64')
      let object = unsure ? await ask(String(total), signal) : undefined
      if (object === undefined) {
        const body = rest.subarray(Math.max(0, stored - begins))
        const range = body.length === 0 ? '*' : `${stored}-${total - 1}`
        // Compared by the store before the object appears.
        object = (await send(`${range}/${total}`, body, signal, { 'x-goog-hash': `md5=${hash}` })).object
        unsure = object === undefined
        if (object === undefined) throw new StoreTrouble(`${doing.action}: the store wants more than ${total} bytes`)
      }
      if (object.sizeBytes !== total)
        throw new PgtsError('protocol', `${doing.action}: the store has ${object.sizeBytes} of ${total} bytes`)
      if (object.md5Hash === undefined || object.md5Hash === hash) return
      if (object.generation !== undefined) (await api.open(doing, { ...removal(object.generation), signal })).resume()
      throw new PgtsError('checksum', `${doing.action}: the bytes were damaged on the way`, {
        hints: ['run the command again; check what stands between this host and the store, if it happens again'],
      })
    },

    async abort() {
      try {
        const response = await api.open(doing, { method: 'DELETE', url: session }, [404, 410, 499])
        response.resume()
      } catch {
        // The store forgets the session in a week.
      }
    },
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
